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

from sqlalchemy import ColumnElement, Connection, exists, select

from webapp.errors import AuthenticationRequired, InsufficientPermissions, OrganizationDisabled
from webapp.extensions import db
from webapp.models import ApiToken, User, UserSession
from webapp.models.organization import IS_OPEN


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

    def refuse_if_changed(self, connection: Connection) -> None:
        """Check that they still may act, also where the request itself has ended.

        Raises InsufficientPermissions if they were deactivated or got another role or clinic,
        OrganizationDisabled if their clinic was disabled, AuthenticationRequired if their session
        or token was ended: by a press on “Sign out”, another password, a token that was revoked.
        """
        columns = (User.role, User.organization_id, User.session_epoch)
        asked = select(*columns, IS_OPEN.label("clinic_is_open"), self.is_open.label("is_open"))
        asked = asked.select_from(User).outerjoin(User.organization)
        asked = asked.where(User.id == self.user_id, User.active)
        row = connection.execute(asked).one_or_none()
        if row is None or (row.role, row.organization_id) != self.standing:
            raise InsufficientPermissions()
        if not row.clinic_is_open:
            raise OrganizationDisabled(organization_id=row.organization_id)
        if row.session_epoch != self.epoch or not row.is_open:
            raise AuthenticationRequired()


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


def refuse_if_changed(user_id: int, connection: Connection | None = None) -> None:
    """Check again, in the caller's transaction, that the person who was let in still may act. A
    slow body, or waiting for Cliniko, may have come between. Does nothing for anybody else. Asks on
    this connection, where one is given.

    Raises what `LetIn.refuse_if_changed` does.
    """
    by = current.get().let_in
    if by is not None and by.user_id == user_id:
        by.refuse_if_changed(connection or db.session.connection())


def goes_on(user: User) -> None:
    """Let a person go on after the caller has ended all their sessions and tokens, and has checked
    before that theirs was open: nobody is refused for what they have ended themselves."""
    by = current.get().let_in
    if by is not None and by.user_id == user.id:
        current.set(replace(current.get(), let_in=replace(by, epoch=user.session_epoch)))
