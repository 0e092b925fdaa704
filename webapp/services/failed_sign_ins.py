"""Failed tries to sign in: the lasting count of them, and when a right password ends it.

The limits of minutes are counted at the edge (limits/sign_in.py).
"""

from __future__ import annotations

import structlog
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from webapp.errors import AccountClosed, AuditUnavailable, ValidationError
from webapp.extensions import transaction
from webapp.models import User
from webapp.models.user import MOST_FAILURES_IN_A_ROW
from webapp.services import account_notices, audit, passwords
from webapp.services.audit import Result
from webapp.services.audit_events import Event

log = structlog.get_logger()


def note(user: User, *, again: bool, counts: bool) -> None:
    """Remember a password that lets nobody in, if database and audit trail can take it just now: it
    is refused in any case. `again` says that it was asked of somebody who is signed in, `counts`
    that it is one of the hundred.

    At a closed account, where guessing has ended, the right one leaves what a wrong one does: the
    trail may be read by whoever guesses. Raises AccountClosed there for somebody who is signed in.
    """
    closed = user.is_closed
    event = Event.PROOF_FAILED if again else Event.SIGN_IN_FAILED
    try:
        with transaction() as session:
            person = session.get_one(User, user.id, with_for_update={"of": User})
            actor = person if again else None
            if closed:
                note_closed(person, actor=actor)
            elif counts:
                count(person, event, actor=actor)
            else:
                _record(person, event, actor=actor)
    except (AuditUnavailable, SQLAlchemyError):
        log.warning("failed_sign_in_not_noted", exc_info=True)
    if again and closed:
        raise AccountClosed()


def count(user: User, event: Event, *, actor: User | None = None) -> None:
    """Count a failure of a person who is locked in the caller's transaction."""
    user.failures_in_a_row += 1
    _record(user, event, actor=actor)
    if user.failures_in_a_row == MOST_FAILURES_IN_A_ROW:
        log.warning("account_locked", person_id=user.id)
        account_notices.tell(Event.ACCOUNT_LOCKED, user, actor=None)
        _record(user, Event.ACCOUNT_LOCKED)


def note_closed(user: User, *, given: str | None = None, actor: User | None = None) -> None:
    """Record in the caller's transaction that somebody tried at an account that is closed."""
    _record(user, Event.CLOSED_REFUSED, actor=actor, given=given)


def succeeded(user: User, password: str) -> None:
    """Forget the failures of somebody who needs nothing but the password they gave, and store it
    with the parameters of today.

    Raises ValidationError for a password that was long enough only beside a second factor.
    """
    alone = user.second_factor_since is None
    if alone and passwords.is_too_short_alone(password):
        raise ValidationError(
            "Without a second factor this password is too short. Ask an admin for a link to choose "
            "a longer one.",
            parameter="password",
        )
    stored, forget = user.password_hash, alone and user.failures_in_a_row > 0
    outdated = passwords.is_outdated(stored)
    if not outdated and not forget:
        return
    anew = passwords.hashed_anew(password) if outdated else stored
    try:
        with transaction() as session:
            session.refresh(user, with_for_update={"of": User})
            if user.password_hash == stored:  # else they have chosen another one meanwhile
                user.password_hash = anew
            if forget:
                user.failures_in_a_row = 0
    except OperationalError:
        log.warning("sign_in_not_noted")


def _record(user: User, event: Event, *, actor: User | None = None, **details: str | None) -> None:
    audit.record(
        event,
        actor=actor,
        organization_id=user.organization_id,
        subject=f"person {user.id}",
        result=Result.REFUSED,
        person=user.email,
        **details,
    )
