"""How often passwords may be guessed, in the dashboard and in the API together.

Only failures count. Asking first keeps guesses from the slow hash; counting afterwards decides,
so of many guesses sent at once no more than the limit are told that they were wrong.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

from flask_limiter.util import get_remote_address
from limits import RateLimitItemPerMinute

from webapp.durations import remaining_words
from webapp.errors import RateLimited
from webapp.limits import limiter
from webapp.services import people

PER_ACCOUNT = RateLimitItemPerMinute(10, 15, namespace="sign-in-account")
PER_ADDRESS = RateLimitItemPerMinute(20, 15, namespace="sign-in-address")
# Strangers who guess must not lock an owner out: an address that has not failed at this account
# may fail once, however often others have.
FIRST = RateLimitItemPerMinute(1, 15, namespace="sign-in-first")


def check(email: str) -> None:
    """Raise RateLimited if no more guesses are heard, for this account or from this address."""
    _each_within(limiter.limiter.test, email)


def count_failure(email: str) -> None:
    """Count a wrong password. Raises RateLimited if others have used up the limit meanwhile."""
    _each_within(limiter.limiter.hit, email)


def _each_within(ask: Callable[..., bool], email: str) -> None:
    # A digest: addresses of people do not belong in Redis.
    account = hashlib.sha256(people.normalized(email).encode()).hexdigest()[:24]
    address = _network(get_remote_address())
    address_is_free = ask(PER_ADDRESS, address)
    account_is_free = ask(PER_ACCOUNT, account)
    is_first = ask(FIRST, account, address)
    if address_is_free and (account_is_free or is_first):
        return
    stats = limiter.limiter.get_window_stats
    if address_is_free:
        resets = min(stats(PER_ACCOUNT, account), stats(FIRST, account, address)).reset_time
    else:
        resets = stats(PER_ADDRESS, address).reset_time
    seconds = max(1, ceil(resets - time.time()))
    raise RateLimited(
        f"Too many failed attempts to sign in. Try again in {remaining_words(seconds)}.",
        retry_after=seconds,
    )


def _network(address: str) -> str:
    """Who an address belongs to: one IPv6 customer has a whole /64 to choose addresses from."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a proxy on a socket
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((int(parsed), 64), strict=False))
    return address
