"""Bearer tokens for programs that call the API: given out, listed, revoked."""

from __future__ import annotations

import secrets
from datetime import timedelta

import structlog
from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import contains_eager

from webapp.clock import iso, now
from webapp.errors import AuthenticationRequired, NotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import ApiToken, User
from webapp.services import audit, bearer_tokens, names, timestamps
from webapp.services.audit_events import Event
from webapp.services.bearer_tokens import MAX_LIFETIME, Claims

LIFETIME = timedelta(hours=1)
MAX_NAME = 100
MOST_SHOWN = 100

# An expired token is shown for so long; one without a name is of no interest then.
KEPT = timedelta(days=30)

# Each use of a token is not worth a write.
_NOTED_EVERY = timedelta(minutes=1)

log = structlog.get_logger()


def issue(
    user: User,
    *,
    name: str | None = None,
    lifetime: timedelta = LIFETIME,
    actor: User | None = None,
) -> tuple[str, int]:
    """A token for a person, which is stored nowhere, and the Unix time at which it ends.

    Raises ValidationError for a name that cannot be used or that another living token has,
    AuthenticationRequired if all that the person had opened was ended since they were loaded.
    """
    name = None if name is None else names.checked(name, of="token", most=MAX_NAME)
    user_id, epoch, moment = user.id, user.session_epoch, now()
    with transaction() as session:
        # Locked: neither a second token of this name nor another password comes in between.
        person = session.get_one(User, user_id, with_for_update={"of": User})
        if person.session_epoch != epoch:
            raise AuthenticationRequired()
        session.execute(delete(ApiToken).where(ApiToken.user_id == user_id, _of_no_interest()))
        if name is not None and session.scalar(
            select(ApiToken.id).where(ApiToken.user_id == user_id, ApiToken.name == name, _living())
        ):
            raise ValidationError("You have a token with this name already.", parameter="name")
        row = ApiToken(
            jti=secrets.token_hex(16),
            user_id=user_id,
            name=name,
            created_at=moment,
            expires_at=(moment + min(lifetime, MAX_LIFETIME)).replace(microsecond=0),
        )
        session.add(row)
        claims = Claims(user_id, row.jti, epoch, row.expires_at)
        session.flush()
        _record(Event.TOKEN_ISSUED, row, user, actor)
    return bearer_tokens.sign(claims), int(claims.expires_at.timestamp())


def row_of(token: str) -> ApiToken:
    """A token as it is stored, with the person it was issued to. Raises AuthenticationRequired for
    all but valid tokens."""
    claims = bearer_tokens.read(token)
    row = db.session.scalar(
        select(ApiToken)
        .join(ApiToken.user)
        .options(contains_eager(ApiToken.user).joinedload(User.organization))
        .where(ApiToken.jti == claims.jti, ApiToken.user_id == claims.user_id)
    )
    # The row knows the end, too: whoever could sign for us cannot prolong a token.
    if row is None or row.revoked_at is not None or row.expires_at < now() - bearer_tokens.LEEWAY:
        raise AuthenticationRequired()
    if not row.user.active or claims.epoch != row.user.session_epoch:
        raise AuthenticationRequired()
    if row.last_used_at is None or now() - row.last_used_at > _NOTED_EVERY:
        _note_use(row)
    return row


def of(user: User) -> list[ApiToken]:
    """A person's own tokens, those with a name first, then the newest; those without a name only
    while they live. At most MOST_SHOWN."""
    shown = or_(ApiToken.name.is_not(None), _living())
    query = select(ApiToken).where(ApiToken.user_id == user.id, shown)
    query = query.order_by(ApiToken.name.is_(None), ApiToken.id.desc())
    return list(db.session.scalars(query.limit(MOST_SHOWN)))


def of_others(user: User) -> list[ApiToken]:
    """The living tokens of everybody else, those with a name first, then those that live longest,
    so that none that lasts is lost behind many of an hour. At most MOST_SHOWN."""
    query = select(ApiToken).join(ApiToken.user).options(contains_eager(ApiToken.user))
    query = query.where(ApiToken.user_id != user.id, User.active, _living())
    query = query.order_by(ApiToken.name.is_(None), ApiToken.expires_at.desc(), ApiToken.id.desc())
    return list(db.session.scalars(query.limit(MOST_SHOWN)))


def revoke(token_id: int, *, owner: User | None, actor: User | None = None) -> None:
    """End a token at once. Raises NotFound, also for one that is not the owner's; `owner` None
    stands for somebody who may revoke anybody's."""
    owner_id = owner and owner.id
    with transaction() as session:
        row = session.get(ApiToken, token_id)
        if row is None or owner_id not in (None, row.user_id):
            raise NotFound()
        if row.revoked_at is None:
            row.revoked_at = now()
            _record(Event.TOKEN_REVOKED, row, row.user, actor)


def _record(event: Event, row: ApiToken, user: User, actor: User | None) -> None:
    audit.record(
        event,
        actor=actor,
        organization_id=user.organization_id,
        subject=f"token {row.id}",
        person=user.email,
        ends=iso(row.expires_at),
    )


def _note_use(row: ApiToken) -> None:
    try:
        timestamps.note(row, last_used_at=now())
    except timestamps.NOT_WRITTEN:
        log.warning("use_of_token_not_noted")


def _living() -> ColumnElement[bool]:
    return ApiToken.revoked_at.is_(None) & (ApiToken.expires_at > now())


def _of_no_interest() -> ColumnElement[bool]:
    nameless = ApiToken.name.is_(None) & (ApiToken.expires_at < now())
    return nameless | (ApiToken.expires_at < now() - KEPT)
