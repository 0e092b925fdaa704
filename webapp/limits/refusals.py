"""Refusals in the audit trail: who was denied what, who came too often, whose form was forged.

A refusal costs its sender nothing, so a flood of them must not become a flood of writes. RECORDED
limits each kind for each person, and for all strangers together; OF_STRANGERS limits theirs for the
day, OF_DISABLED those of each person of a disabled clinic. The last one recorded says that more may
follow. The log has every one. (A failed sign-in makes a write all the same: how long it takes must
not tell who has an account.)
"""

from __future__ import annotations

from contextlib import suppress

import structlog
from flask import g, request
from flask_wtf.csrf import CSRFError
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute

from webapp.auth import sessions
from webapp.auth.guards import organization_id_of
from webapp.errors import (
    InsufficientPermissions,
    InvalidOrganizationId,
    NotYours,
    OrganizationDisabled,
    ProofRequired,
    RateLimited,
    SentByOthers,
    SignInLimited,
)
from webapp.limits import limiter
from webapp.models import User
from webapp.services import audit, callers
from webapp.services.audit import Result
from webapp.services.audit_events import Event

RECORDED = RateLimitItemPerMinute(30, namespace="audit-refusals")
# A person can be deactivated; strangers go on, and what is recorded of them is kept for good.
OF_STRANGERS = RateLimitItemPerDay(300, namespace="audit-refusals-of-strangers")
# A program of a clinic that was disabled goes on asking, and means no harm.
OF_DISABLED = RateLimitItemPerDay(30, namespace="audit-refusals-of-disabled")

log = structlog.get_logger()


def note(error: Exception) -> None:
    """Record this error if it is a refusal; it stands whether that can be written down or not."""
    match error:
        case ProofRequired():
            pass  # no refusal: whoever may do this is asked for their password first
        case InsufficientPermissions() | NotYours():
            note_event(Event.ACCESS_DENIED, asked=error.asked or request.endpoint)
        case OrganizationDisabled() if _belongs_to_a_clinic(_whoever_asks()):
            note_event(Event.ACCESS_DENIED, asked=request.endpoint)
        case SignInLimited():
            pass  # recorded where it was raised, for the form to sign in has an answer of its own
        case RateLimited():
            note_event(Event.RATE_LIMITED, asked=request.endpoint)
        case CSRFError() | SentByOthers():
            note_event(Event.FORGERY_REFUSED, asked=request.endpoint)


def note_event(event: Event, *, of: User | None = None, **details: str | None) -> bool:
    """Record a refusal to whoever asks, or to somebody who has shown their password and is not let
    in (`of`), unless its kind has reached its limit; says whether it was recorded.

    It goes into the chain of their own clinic, whichever clinic they asked for: so nobody learns
    which ids exist, and no chain begins for a number that somebody invented.
    """
    actor = None if of else _whoever_asks()
    log.warning("refused", audit_event=str(event), **details)
    person = of or actor
    whose = str(person.id) if person else "strangers"
    limits: list[RateLimitItem] = [RECORDED] if person else [RECORDED, OF_STRANGERS]
    if person and person.organization and not person.organization.is_open:
        limits.append(OF_DISABLED)
    # What the minute refuses is not counted for the day.
    if not all(limiter.limiter.hit(limit, str(event), whose) for limit in limits):
        return False
    stats = limiter.limiter.get_window_stats
    left = min(stats(limit, str(event), whose).remaining for limit in limits)
    audit.note_anyway(
        event,
        actor=actor,
        organization_id=person.organization_id if person else None,
        subject=f"person {of.id}" if of else _subject(),
        result=Result.REFUSED,
        more_may_follow=True if left == 0 else None,
        **({"person": of.email} if of else {}),
        **details,
    )
    return True


def _whoever_asks() -> User | None:
    if callers.by_api():
        actor: User | None = g.get("actor")
        return actor
    return sessions.signed_in_user()


def _belongs_to_a_clinic(user: User | None) -> bool:
    """To an admin, who belongs to none, a disabled clinic is a state and no closed door."""
    return user is not None and user.organization_id is not None


def _subject() -> str | None:
    """What the address names: the clinic or person, and only where it is a number of one."""
    named = request.view_args or {}
    for what, key in (("clinic", "org_id"), ("person", "user_id")):
        with suppress(InvalidOrganizationId):
            return f"{what} {organization_id_of(named.get(key, ''))}"
    return None
