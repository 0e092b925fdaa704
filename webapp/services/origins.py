"""By which way something was asked for, and as what whoever asked was let in: what the trail tells
of each change, and what a change looks at once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import ColumnElement, exists, select

from webapp.errors import AuthenticationRequired, InsufficientPermissions
from webapp.extensions import db
from webapp.models import ApiToken, User, UserSession


class Way(StrEnum):
    """By which way something is asked for."""

    PAGE = "page"
    API = "api"
    COMMAND = "command"
    WORKER = "worker"


@dataclass(frozen=True)
class LetIn:
    """Who was let in, and as what; `epoch` is that of all they have opened, and `is_open` asks
    whether the session or token that let them in still is."""

    user_id: int
    standing: tuple[str, int | None]
    epoch: int
    is_open: ColumnElement[bool]


@dataclass(frozen=True)
class Origin:
    """Where something comes from, and as what whoever asks for it was let in."""

    via: Way
    ip: str | None = None
    request_id: str | None = None
    let_in: LetIn | None = None


SYSTEM = Origin(Way.WORKER)
# Set by the edge, as the id of a request is for the log; a worker and a test need to set nothing.
current: ContextVar[Origin] = ContextVar("origin", default=SYSTEM)


def by_api() -> bool:
    """Whether the request at hand is for the API, whether its address is known or not."""
    return current.get().via is Way.API


@contextmanager
def coming_by(way: Origin) -> Iterator[None]:
    """What is done herein comes by this way, whoever's request it is done in."""
    before = current.set(way)
    try:
        yield
    finally:
        current.reset(before)


def let_in(user: User, by: UserSession | ApiToken) -> None:
    """Remember as what somebody was let in, and by what, for all that they change in this
    request."""
    if isinstance(by, UserSession):
        is_open = exists().where(UserSession.id == by.id, UserSession.ended_at.is_(None))
    else:
        is_open = exists().where(ApiToken.id == by.id, ApiToken.revoked_at.is_(None))
    standing = (user.role, user.organization_id)
    current.set(
        replace(current.get(), let_in=LetIn(user.id, standing, user.session_epoch, is_open))
    )


def refuse_if_changed(user_id: int) -> None:
    """Look again, within the caller's transaction, at this person if it is who was let in: an
    answer of Cliniko's or a slow body may have come between.

    Raises InsufficientPermissions if they were deactivated or made something else since then,
    AuthenticationRequired if what let them in was ended: by a press on “Sign out”, another
    password, a token that was revoked.
    """
    by = current.get().let_in
    if by is None or by.user_id != user_id:
        return
    columns = (User.role, User.organization_id, User.session_epoch, by.is_open.label("is_open"))
    row = db.session.execute(select(*columns).where(User.id == user_id, User.active)).one_or_none()
    if row is None or (row.role, row.organization_id) != by.standing:
        raise InsufficientPermissions()
    if row.session_epoch != by.epoch or not row.is_open:
        raise AuthenticationRequired()


def goes_on(user: User) -> None:
    """Refuse nobody for what they have ended themselves: the caller, who has just ended all that
    this person had opened, has looked whether it was open until then."""
    by = current.get().let_in
    if by is not None and by.user_id == user.id:
        current.set(replace(current.get(), let_in=replace(by, epoch=user.session_epoch)))
