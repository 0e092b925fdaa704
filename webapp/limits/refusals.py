"""Refusals in the audit trail: who was denied what, who came too often, whose form was forged.

A refusal costs its sender nothing, so a flood of them must not become a flood of writes. RECORDED
limits each kind for each person, and for all strangers together; OF_STRANGERS limits theirs for the
day. The last one recorded says that more may follow. The log has every one. (A failed sign-in makes
a write all the same: how long it takes must not tell who has an account.)
"""

from __future__ import annotations

from contextlib import suppress

import structlog
from flask import g, request
from flask_wtf.csrf import CSRFError
from limits import RateLimitItemPerDay, RateLimitItemPerMinute

from webapp.auth import sessions
from webapp.auth.guards import organization_id_of
from webapp.errors import (
    InsufficientPermissions,
    InvalidOrganizationId,
    ProofRequired,
    RateLimited,
    SentByOthers,
    SignInLimited,
)
from webapp.limits import limiter
from webapp.models import User
from webapp.services import audit, origins
from webapp.services.audit import Event, Result

RECORDED = RateLimitItemPerMinute(30, namespace="audit-refusals")
# A person can be deactivated; strangers go on, and what is recorded of them is kept for good.
OF_STRANGERS = RateLimitItemPerDay(300, namespace="audit-refusals-of-strangers")

log = structlog.get_logger()


def note(error: Exception) -> None:
    """Record this error if it is a refusal; it stands whether that can be written down or not."""
    match error:
        case ProofRequired():
            pass  # no refusal: whoever may do this is asked for their password first
        case InsufficientPermissions():
            note_event(Event.ACCESS_DENIED, asked=error.asked or request.endpoint)
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
    limits = [RECORDED] if person else [RECORDED, OF_STRANGERS]
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
    if origins.by_api():
        actor: User | None = g.get("actor")
        return actor
    return sessions.signed_in_user()


def _subject() -> str | None:
    """What the address names: the clinic, and only where it is a number of one."""
    with suppress(InvalidOrganizationId):
        return f"clinic {organization_id_of((request.view_args or {}).get('org_id', ''))}"
    return None
