"""The matrix of roles and actions."""

from __future__ import annotations

import pytest

from webapp.auth.access import Action, may
from webapp.models import Role, User

OWN, OTHER = 1, 2


def user(role: Role, *, active: bool = True) -> User:
    organization_id = None if role is Role.ADMIN else OWN
    return User(role=role, organization_id=organization_id, active=active)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("organization_id", [OWN, OTHER, None])
def test_an_admin_may_do_everything(action: Action, organization_id: int | None) -> None:
    assert may(user(Role.ADMIN), action, organization_id)


@pytest.mark.parametrize(
    ("action", "manager", "viewer"),
    [
        (Action.VIEW_SYNCS, True, True),
        (Action.VIEW_PATIENTS, True, False),
        (Action.EXPORT_PATIENTS, True, False),
        (Action.VIEW_AUDIT, True, False),
        (Action.START_SYNC, True, False),
        (Action.CANCEL_SYNC, True, False),
        (Action.TEST_CONNECTION, True, False),
        (Action.MANAGE_ORGANIZATION, True, False),
        (Action.ADD_ORGANIZATION, False, False),
        (Action.DECIDE_REMOVALS, False, False),
    ],
)
def test_managers_and_viewers_may_do_this_with_their_own_clinic(
    action: Action, manager: bool, viewer: bool
) -> None:
    assert may(user(Role.MANAGER), action, OWN) is manager
    assert may(user(Role.VIEWER), action, OWN) is viewer


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("role", [Role.MANAGER, Role.VIEWER])
@pytest.mark.parametrize("organization_id", [OTHER, None])
def test_nobody_else_may_do_anything_elsewhere(
    role: Role, action: Action, organization_id: int | None
) -> None:
    assert not may(user(role), action, organization_id)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("role", list(Role))
def test_who_was_switched_off_may_do_nothing(role: Role, action: Action) -> None:
    assert not may(user(role, active=False), action, OWN)
