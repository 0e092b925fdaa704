"""Who calls, by a request, command or job, and which session or token authorised it.

The audit trail records the first. Every change checks before its commit that the second still
holds.
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
    """How something was asked for."""

    PAGE = "page"
    API = "api"
    COMMAND = "command"
    WORKER = "worker"


@dataclass(frozen=True)
class LetIn:
    """Who was let in, and in which role and clinic (`standing`). `epoch` is their session epoch at
    that time. `is_open` asks whether the session or token that let them in still holds."""

    user_id: int
    standing: tuple[str, int | None]
    epoch: int
    is_open: ColumnElement[bool]


@dataclass(frozen=True)
class Caller:
    """Who asks for something, from where and by which way, and who was let in for it."""

    via: Way
    ip: str | None = None
    request_id: str | None = None
    let_in: LetIn | None = None


SYSTEM = Caller(Way.WORKER)
# Set by the edge, as the id of a request is for the log; a worker and a test need to set nothing.
current: ContextVar[Caller] = ContextVar("caller", default=SYSTEM)


def by_api() -> bool:
    """Whether the request at hand is for the API, whether its address is known or not."""
    return current.get().via is Way.API


@contextmanager
def called_by(caller: Caller) -> Iterator[None]:
    """Set who asks for all that is done in this block."""
    before = current.set(caller)
    try:
        yield
    finally:
        current.reset(before)


def let_in(user: User, by: UserSession | ApiToken) -> None:
    """Remember who was let in, in which role and clinic, and by which session or token. Every
    change in this request checks it again."""
    if isinstance(by, UserSession):
        is_open = exists().where(UserSession.id == by.id, UserSession.ended_at.is_(None))
    else:
        is_open = exists().where(ApiToken.id == by.id, ApiToken.revoked_at.is_(None))
    standing = (user.role, user.organization_id)
    current.set(
        replace(current.get(), let_in=LetIn(user.id, standing, user.session_epoch, is_open))
    )


def refuse_if_changed(user_id: int) -> None:
    """Check again, in the caller's transaction, that the person who was let in still may act. A
    slow body, or waiting for Cliniko, may have come between. Does nothing for anybody else.

    Raises InsufficientPermissions if they were deactivated or got another role or clinic,
    AuthenticationRequired if their session or token was ended: by a press on “Sign out”, another
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
    """Let a person go on after the caller has ended all their sessions and tokens, and has checked
    before that theirs was open: nobody is refused for what they have ended themselves."""
    by = current.get().let_in
    if by is not None and by.user_id == user.id:
        current.set(replace(current.get(), let_in=replace(by, epoch=user.session_epoch)))
