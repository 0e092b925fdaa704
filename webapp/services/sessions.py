"""Who is signed in at which browser. The browser keeps a secret, the database only its digest.

A session ends when it is ended, when its person is deactivated or all they had opened is ended
(another password, another role), when nobody was there for a quarter of an hour, and after twelve
hours whatever happens.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any

import structlog
from flask import current_app
from sqlalchemy import and_, bindparam, delete, or_, select
from sqlalchemy.orm import contains_eager

from webapp.clock import now
from webapp.errors import NotFound
from webapp.extensions import db, transaction
from webapp.models import User, UserSession
from webapp.services import audit, people, timestamps
from webapp.services.audit_events import Event

IDLE = timedelta(minutes=15)
LIFETIME = timedelta(hours=12)
PROOF = timedelta(minutes=30)  # so long a password that was entered is proof of who is there

# Each sign of life is not worth a write.
_NOTED_EVERY = timedelta(minutes=1)

log = structlog.get_logger()

# Whether a session holds, for a question that joins its person; with the values of `limits`.
HOLDS = and_(
    UserSession.ended_at.is_(None),
    UserSession.last_seen_at > bindparam("seen_since"),
    UserSession.created_at > bindparam("begun_since"),
    UserSession.epoch == User.session_epoch,
    User.active,
)

# Built once: it is asked with every request for a page.
_OF_SECRET = (
    select(UserSession)
    .join(UserSession.user)
    .options(contains_eager(UserSession.user).joinedload(User.organization))
    .where(UserSession.secret_digest == bindparam("digest"), HOLDS)
)


def begin(user: User, *, address: str, agent: str) -> tuple[UserSession, str]:
    """Begin a session of a person; returns it with the secret, which the browser keeps.

    If all that they had opened was ended since they were loaded, this session does not hold: the
    password that let them in may have been replaced meanwhile.
    """
    secret = secrets.token_urlsafe(32)
    user_id, epoch, moment = user.id, user.session_epoch, now()
    with transaction() as session:
        row = UserSession(
            user_id=user_id,
            secret_digest=digest(secret),
            epoch=epoch,
            created_at=moment,
            last_seen_at=moment,
            proved_at=moment,
            address=address[:45],
            agent=_printable(agent)[:200],
        )
        session.add(row)
        person = session.get_one(User, user_id)
        person.last_sign_in_at = moment
        session.flush()
        audit.record(
            Event.SIGNED_IN,
            actor=person,
            organization_id=person.organization_id,
            subject=f"session {row.id}",
        )
        return row, secret


def of_secret(secret: str) -> UserSession | None:
    """The session that a browser has the secret of, with its person; None unless it holds."""
    values = {"digest": digest(secret)} | limits(now())
    row: UserSession | None = db.session.scalar(_OF_SECRET, values)
    return row


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def limits(moment: datetime) -> dict[str, Any]:
    """The values for HOLDS."""
    return {"seen_since": moment - IDLE, "begun_since": moment - LIFETIME}


def note_activity(row: UserSession) -> None:
    """Remember that somebody is there, once a minute and if the database can take it just now."""
    if now() - row.last_seen_at < _NOTED_EVERY:
        return
    try:
        timestamps.note(row, last_seen_at=now())
    except timestamps.NOT_WRITTEN:
        log.warning("activity_not_noted")


def note_proof(row: UserSession) -> None:
    """Remember that somebody has just entered their password again."""
    timestamps.note(row, proved_at=now())


def is_proved(row: UserSession) -> bool:
    """Whether the password was entered lately enough for a dangerous act."""
    return now() - row.proved_at < PROOF


def seconds_left(row: UserSession) -> tuple[int, int]:
    """So many seconds a session lasts if nothing is done any more, and so many at most."""
    moment = now()
    idle = row.last_seen_at + IDLE - moment
    most = row.created_at + LIFETIME - moment
    return int(min(idle, most).total_seconds()), int(most.total_seconds())


def mark_of(user: User) -> str:
    """By which the pages of a browser tell one person from the next, and nobody who it is."""
    # By the oldest key: while it is replaced, servers with and without the newer one agree.
    keys = [current_app.config["SECRET_KEY"], *current_app.config["SECRET_KEY_FALLBACKS"]]
    return hmac.new(
        keys[-1].encode(), f"whose-page {user.id}".encode(), hashlib.sha256
    ).hexdigest()[:16]


def of(user: User) -> list[UserSession]:
    """A person's sessions that hold, the one that was seen last first."""
    query = select(UserSession).join(UserSession.user).where(User.id == user.id, HOLDS)
    query = query.order_by(UserSession.last_seen_at.desc(), UserSession.id.desc())
    return list(db.session.scalars(query, limits(now())))


def end(session_id: int, *, owner: User) -> None:
    """End a session at once. Raises NotFound for one that is not the owner's."""
    owner_id = owner.id
    with transaction() as session:
        row = session.get(UserSession, session_id)
        if row is None or row.user_id != owner_id:
            raise NotFound()
        if row.ended_at is not None:
            return
        row.ended_at = now()
        user = row.user
    # Afterwards: signing out must be possible whatever cannot be written down.
    audit.note_anyway(
        Event.SIGNED_OUT,
        actor=user,
        organization_id=user.organization_id,
        subject=f"session {session_id}",
    )


def end_others(row: UserSession) -> str:
    """End everything that a person has opened but this session, and give its new secret: a copy of
    the cookie is one of the others. The password may have been entered half an hour ago, so no
    limit begins anew."""
    secret, user = secrets.token_urlsafe(32), row.user
    with people.changing(user, Event.SIGNED_OUT_EVERYWHERE, actor=user):
        people.end_everything_of(user)
        row.epoch, row.secret_digest = user.session_epoch, digest(secret)
        return secret


def delete_old(before: datetime) -> int:
    """Delete the sessions that had ended, or nobody had used, by this moment; says how many."""
    old = or_(
        UserSession.ended_at < before,
        UserSession.last_seen_at < before - IDLE,
        UserSession.created_at < before - LIFETIME,
    )
    with transaction() as session:
        return session.connection().execute(delete(UserSession).where(old)).rowcount


def _printable(text: str) -> str:
    """What a stranger sent, without what PostgreSQL cannot store."""
    return "".join(character for character in text if character.isprintable())
