"""Who may do what, what each role may make of others, and who is kept out because their clinic is
disabled or deleted."""

from __future__ import annotations

from enum import Enum, auto

from webapp.errors import OrganizationDisabled
from webapp.models import Role, User


class Action(Enum):
    """What somebody asks to do with a clinic, or with all of them."""

    VIEW_SYNCS = auto()
    VIEW_PATIENTS = auto()
    FORGET_PATIENT = auto()
    EXPORT_PATIENTS = auto()
    START_SYNC = auto()
    CANCEL_SYNC = auto()
    TEST_CONNECTION = auto()
    MANAGE_ORGANIZATION = auto()
    MANAGE_WEBHOOKS = auto()
    ADD_ORGANIZATION = auto()
    CLOSE_ORGANIZATION = auto()  # disable, enable, delete
    DECIDE_REMOVALS = auto()
    MANAGE_TOKENS = auto()  # of other people; everybody manages their own
    MANAGE_PEOPLE = auto()
    RESET_SECOND_FACTOR = auto()  # of other people
    VIEW_AUDIT = auto()


_VIEWER = frozenset({Action.VIEW_SYNCS})
_MANAGER = _VIEWER | {
    Action.VIEW_PATIENTS,
    Action.FORGET_PATIENT,
    Action.EXPORT_PATIENTS,
    Action.START_SYNC,
    Action.CANCEL_SYNC,
    Action.TEST_CONNECTION,
    Action.MANAGE_ORGANIZATION,
    Action.MANAGE_WEBHOOKS,
    Action.MANAGE_PEOPLE,
    Action.VIEW_AUDIT,
}
MATRIX: dict[Role, frozenset[Action]] = {
    Role.VIEWER: _VIEWER,
    Role.MANAGER: _MANAGER,
    Role.ADMIN: frozenset(Action),
}


# Whom somebody may make of others, in the clinics where they may manage people at all.
GRANTS: dict[Role, tuple[Role, ...]] = {
    Role.VIEWER: (),
    Role.MANAGER: (Role.VIEWER, Role.MANAGER),
    Role.ADMIN: tuple(Role),
}


def may(user: User, action: Action, organization_id: int | None = None) -> bool:
    """Whether a person may do this with this clinic (None: with no clinic in particular)."""
    return user.active and allows(Role(user.role), user.organization_id, action, organization_id)


def allows(
    role: Role, own_organization_id: int | None, action: Action, organization_id: int | None
) -> bool:
    """Whether somebody active in this role, of this clinic, may do this with that one."""
    if action not in MATRIX[role]:
        return False
    return role == Role.ADMIN or own_organization_id == organization_id


def refuse_if_disabled(user: User) -> None:
    """Raise OrganizationDisabled for those who belong to a clinic that is disabled, and for those
    who came to one while it was deleted: its people had been deactivated by then."""
    clinic = user.organization
    if clinic is not None and not clinic.is_open:
        raise OrganizationDisabled(organization_id=user.organization_id)
