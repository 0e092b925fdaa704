"""How often passwords and codes may be guessed, in the dashboard and in the API together.

Only failures count as guesses. Of passwords: asking first keeps guesses from the slow hash;
counting afterwards decides, so of many guesses sent at once no more than the limit are told that
they were wrong. A code has few digits: it is counted before it is looked at, and a right one ends
the count. Right passwords have counts of their own: each costs a hash, and an event that is kept.
One of them is asked before the hash, for an address that has given the right one already: so what
it answers tells nothing to anybody else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

import structlog
from flask_limiter.util import get_remote_address
from limits import RateLimitItem, RateLimitItemPerMinute

from webapp.errors import AccountClosed, RateLimited, SignInLimited, ValidationError
from webapp.limits import limiter, refusal, refusals
from webapp.models import User
from webapp.services import audit, email_addresses, passwords, people, second_factor
from webapp.services.audit import Result
from webapp.services.audit_events import Event
from webapp.services.second_factor import CodeKind

PER_ACCOUNT = RateLimitItemPerMinute(10, 15, namespace="sign-in-account")
PER_ADDRESS = RateLimitItemPerMinute(20, 15, namespace="sign-in-address")
# Strangers who guess must not lock an owner out: an address that has not failed at this account
# may fail once, however often others have. Such a guess does not count towards the hundred after
# which an account stays closed, or many strangers together could close every account at once.
FIRST = RateLimitItemPerMinute(1, 15, namespace="sign-in-first")
# A program that fetches a token for each call, or whoever has the password and means harm.
RIGHT = RateLimitItemPerMinute(30, namespace="right-password")
RIGHT_HERE = RateLimitItemPerMinute(30, namespace="right-password-here")
# Of somebody who is signed in. By address, too: whoever has got in elsewhere must not keep the
# owner from choosing another password.
AGAIN_HERE = RateLimitItemPerMinute(10, namespace="right-password-again-here")
# Whoever guesses codes knows the password already.
CODES = RateLimitItemPerMinute(5, 5, namespace="second-factor")
# So often it is recorded of an account that the password was right and alone, which is as often as
# wrong ones are heard; nobody is refused for it.
AWAITED = RateLimitItemPerMinute(10, 15, namespace="code-awaited")
# Many accounts from many addresses, each below its limit: nobody is refused, but it is told.
OVERALL = RateLimitItemPerMinute(1000, 5, namespace="sign-in-overall")
TOLD = RateLimitItemPerMinute(1, 5, namespace="sign-in-overall-told")

log = structlog.get_logger()


def by_password(email: str, password: str, *, again: bool = False) -> User | None:
    """The person whose password this is; None if it is wrong, which is counted. `again`: they are
    signed in.

    Raises RateLimited if no more guesses are heard, or the right one comes too often;
    ValidationError as `people.authenticate`.
    """
    counts = check(email)
    _check_right(email, again)
    user = None
    if email.isprintable():  # else it cannot be asked of every database
        try:
            user = people.authenticate(email, password, again=again, counts=counts)
        except ValidationError as error:
            # It was the right one, or is not told from it.
            if isinstance(error, AccountClosed) or passwords.is_too_short_alone(password):
                limiter.limiter.hit(_here(again), *_account_and_network(email))
                user = None if again else people.by_email(email)
                if user is not None:
                    note_awaited(user, Result.REFUSED)
            raise
        if user is None and people.by_email(email) is None:
            _note_unknown()
    if user is None:
        count_failure(email)
    else:
        _count_right(user, again)
    return user


def _check_right(email: str, again: bool) -> None:
    """Before the hash. Raises RateLimited at an address that has given the right one too often."""
    limit, place = _here(again), _account_and_network(email)
    if not limiter.limiter.test(limit, *place):
        raise _too_often(limit, place, of=None if again else people.by_email(email))


def _count_right(user: User, again: bool) -> None:
    place, person = _account_and_network(user.email), (str(user.id),)
    counted = {_here(again): place} | ({} if again else {RIGHT: person})
    for limit, key in counted.items():
        if not limiter.limiter.hit(limit, *key):
            raise _too_often(limit, key, of=None if again else user)


def _here(again: bool) -> RateLimitItem:
    return AGAIN_HERE if again else RIGHT_HERE


def _too_often(limit: RateLimitItem, key: tuple[str, ...], *, of: User | None) -> RateLimited:
    refusals.note_event(Event.SIGN_IN_LIMITED, of=of)
    again = limit is AGAIN_HERE
    what = "A password was given here" if again else "This person has signed in"
    return refusal(
        SignInLimited,
        f"{what} {limit.amount} times within a minute, which is the most.",
        resets=limiter.limiter.get_window_stats(limit, *key).reset_time,
    )


def _note_unknown() -> None:
    """What was typed is not kept, for it may be a password. Where too many were recorded a write is
    made all the same: how long it takes must not tell who has an account."""
    if not refusals.note_event(Event.SIGN_IN_FAILED):
        audit.write_nothing()


def by_code(user: User, code: str) -> CodeKind | None:
    """Which kind of code of the second factor this is; None if it is wrong, which is counted.

    Raises RateLimited if no more guesses are heard.
    """
    person = str(user.id)
    if limiter.limiter.hit(CODES, person):
        kind = second_factor.accept(user, code)
        if kind is not None:
            limiter.limiter.clear(CODES, person)
            limiter.limiter.clear(AWAITED, person)
        return kind
    raise _refusal(
        limiter.limiter.get_window_stats(CODES, person).reset_time, "codes that are wrong"
    )


def note_awaited(user: User, result: Result = Result.OK) -> None:
    """Record that somebody has given this person's password and no code. Who knows the one and has
    not the other may never try one, and nothing else would tell of them."""
    person = str(user.id)
    if not limiter.limiter.hit(AWAITED, person):
        return
    left = limiter.limiter.get_window_stats(AWAITED, person).remaining
    audit.note_anyway(
        Event.CODE_AWAITED,
        organization_id=user.organization_id,
        subject=f"person {user.id}",
        result=result,
        person=user.email,
        more_may_follow=True if left == 0 else None,
    )


def check(email: str) -> bool:
    """Check that a password may be tried. True: from any address. False: the account has reached
    its limit, and this is the first guess from this address. Raises SignInLimited if none is heard.
    """
    return _each_within(limiter.limiter.test, email)


def count_failure(email: str) -> None:
    """Count a wrong password. Raises RateLimited if others have used up the limit meanwhile."""
    hit = limiter.limiter.hit
    if not hit(OVERALL) and hit(TOLD):
        log.warning("many_failed_sign_ins", more_than=OVERALL.amount, minutes=OVERALL.multiples)
    _each_within(hit, email)


def _each_within(ask: Callable[..., bool], email: str) -> bool:
    account, address = _account_and_network(email)
    address_is_free = ask(PER_ADDRESS, address)
    account_is_free = ask(PER_ACCOUNT, account)
    is_first = ask(FIRST, account, address)
    if address_is_free and (account_is_free or is_first):
        return account_is_free
    stats = limiter.limiter.get_window_stats
    if address_is_free:
        resets = min(stats(PER_ACCOUNT, account), stats(FIRST, account, address)).reset_time
    else:
        resets = stats(PER_ADDRESS, address).reset_time
    raise _refusal(resets, "failed attempts to sign in")


def _account_and_network(email: str) -> tuple[str, str]:
    # A digest: addresses of people do not belong in Redis.
    account = hashlib.sha256(email_addresses.normalized(email).encode()).hexdigest()[:24]
    return account, _network(get_remote_address())


def _refusal(resets: float, of_what: str) -> RateLimited:
    refusals.note_event(Event.SIGN_IN_LIMITED)
    return refusal(SignInLimited, f"Too many {of_what}.", resets=resets)


def _network(address: str) -> str:
    """Who an address belongs to: one IPv6 customer may have a whole /48 to choose from."""
    try:
        parsed = ip_address(address)
    except ValueError:  # unknown, see webapp/front.py
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), 48), strict=False))
    return address
