"""What whoever runs the machine may do when nobody else can: with a reason, which is recorded."""

from __future__ import annotations

from webapp.errors import ValidationError
from webapp.models import Role, User
from webapp.services import passwords, people, roles, second_factor
from webapp.services.audit_events import Event

MAX_REASON = 300


def grant_admin(user: User, *, reason: str) -> None:
    """Make somebody an active admin; what they had opened ends, and whoever belonged to a clinic
    chooses a new password by a new link. Raises ValidationError without a reason."""
    reason, nobodys = _checked(reason), passwords.nobodys()
    with people.changing(user):
        user.active = True
        place = Role.ADMIN, None
        roles.give(user, place, nobodys, Event.ADMIN_GRANTED, actor=None, reason=reason)


def reset_second_factor(user: User, *, reason: str) -> None:
    """Ask somebody for no code any more; what they had opened ends. Raises ValidationError without
    a reason, NotFound if they have no second factor."""
    second_factor.reset(user, actor=None, reason=_checked(reason))


def _checked(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise ValidationError(
            f"Say why, in at most {MAX_REASON} characters: the reason is recorded.",
            parameter="reason",
        )
    return reason
