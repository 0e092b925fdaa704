"""The only way from an id in an address to a clinic or a person: load and authorise in one step.
And what asks for the password again."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from webapp.auth import sessions
from webapp.auth.access import Action, may
from webapp.errors import (
    InsufficientPermissions,
    InvalidOrganizationId,
    NotFound,
    NotYours,
    OrganizationNotFound,
    ProofRequired,
)
from webapp.extensions import db
from webapp.models import Organization, Role, User
from webapp.services import organizations

P = ParamSpec("P")
R = TypeVar("R")

ID = "[1-9][0-9]{0,15}"  # what an id in an address is
_ID = re.compile(ID)


def organization_for(user: User, org_id: str, action: Action) -> Organization:
    """The clinic with this id, if the person may do this with it.

    Raises InvalidOrganizationId for what is no id; InsufficientPermissions, the same for clinics
    that exist and clinics that do not, so that ids cannot be guessed; OrganizationNotFound, which
    only an admin can meet.
    """
    organization_id = organization_id_of(org_id)
    if not may(user, action, organization_id):
        raise InsufficientPermissions(action.name, organization_id=organization_id)
    organization = organizations.get(organization_id)
    if organization is None:
        if user.role == Role.ADMIN:
            raise OrganizationNotFound(organization_id=organization_id)
        raise InsufficientPermissions(action.name, organization_id=organization_id)
    return organization


def person_for(user: User, user_id: int) -> User:
    """The person with this id, if the other may manage them. Raises NotYours, the same for people
    who exist and people who do not; NotFound, which only an admin can meet."""
    person = db.session.get(User, user_id)
    if person is None and user.role == Role.ADMIN:
        raise NotFound()
    if person is None or not may(user, Action.MANAGE_PEOPLE, person.organization_id):
        raise NotYours(Action.MANAGE_PEOPLE.name)
    return person


def organization_id_of(org_id: str) -> int:
    """The number in an address. Raises InvalidOrganizationId."""
    if not _ID.fullmatch(org_id):
        raise InvalidOrganizationId()
    return int(org_id)


def id_of(text: str) -> int:
    """The id of anything else in an address. Raises NotFound for what is none."""
    if not _ID.fullmatch(text):
        raise NotFound()
    return int(text)


def require(user: User, action: Action) -> None:
    """Raise InsufficientPermissions unless the person may do this at all, for any clinic."""
    if not may(user, action, user.organization_id):
        raise InsufficientPermissions(action.name)


def require_everywhere(user: User, action: Action) -> None:
    """Raise InsufficientPermissions unless the person may do this with all clinics together."""
    if not may(user, action):
        raise InsufficientPermissions(action.name)


def fresh(view: Callable[P, R]) -> Callable[P, R]:
    """Decorate a page of the dashboard, below its route, that shows or takes what could do harm: it
    raises ProofRequired unless the password was entered within the last half hour."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if not sessions.is_fresh():
            raise ProofRequired()
        return view(*args, **kwargs)

    guarded.asks_for_proof = True  # type: ignore[attr-defined]
    return guarded
