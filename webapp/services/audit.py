"""The audit trail: what was done is recorded with the change, what is shown before it is shown.

If an event cannot be written, what it tells of does not happen. Events hold ids, counts and the
names of fields, and never anything about a patient.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC
from enum import StrEnum
from typing import Any

import structlog
from flask import current_app
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from webapp.clock import now
from webapp.errors import AuditUnavailable
from webapp.extensions import db, insert_into, write_alone
from webapp.models import AuditChain, AuditEvent, User
from webapp.models.audit_event import SERVICE_CHAIN
from webapp.services import callers
from webapp.services.audit_events import Event

log = structlog.get_logger()

Detail = int | str | bool | None | list[str]


class Result(StrEnum):
    """How it ended."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


def record(
    event: Event,
    *,
    actor: User | None = None,
    organization_id: int | None = None,
    subject: str | None = None,
    result: Result = Result.OK,
    **details: Detail,
) -> None:
    """Add an event to the caller's transaction, as its last step: the chain of this clinic is
    locked until the commit.

    `actor` is None for what nobody asked for; `organization_id` None for what belongs to no clinic;
    `subject` says what it was done to, as `patient 5`; `details` are ids, counts, names of fields.
    Raises AuditUnavailable, or OperationalError where the database itself has trouble. Unless the
    event is a refusal, raises what `callers.refuse_if_changed` does for the actor.
    """
    # What the session still holds back belongs before the event that tells of it.
    db.session.flush()
    told = _row_of(event, actor, subject, result, details)
    with _or_nothing():
        append(db.session.connection(), organization_id or SERVICE_CHAIN, told)
    # Asked after the wait for the chain's lock: a session that was ended meanwhile, under the same
    # lock, is then seen as ended.
    if actor is not None and result is not Result.REFUSED:
        callers.refuse_if_changed(actor.id)


def note(
    event: Event,
    *,
    actor: User | None = None,
    organization_id: int | None = None,
    subject: str | None = None,
    result: Result = Result.OK,
    **details: Detail,
) -> None:
    """Record what changes nothing, such as a look at a patient, in a transaction of its own; call
    it before the answer is sent, and in no other transaction. What the caller has loaded stays
    loaded. Raises what `record` does."""
    told = _row_of(event, actor, subject, result, details)
    with _or_nothing(), write_alone() as connection:
        append(connection, organization_id or SERVICE_CHAIN, told)
        # On this connection: what the session sees on SQLite is of the moment of its first look.
        if actor is not None and result is not Result.REFUSED:
            callers.refuse_if_changed(actor.id, connection)


def note_anyway(event: Event, **said: Any) -> None:
    """Record an event as `note` does, but only log it if it cannot be written: a refusal stands,
    and somebody who signs out is signed out, by which they may do no more. Takes what `note` takes.
    """
    unchecked = replace(callers.current.get(), let_in=None)
    try:
        with callers.called_by(unchecked):
            note(event, **said)
    except (AuditUnavailable, SQLAlchemyError):
        log.exception("event_not_recorded", audit_event=str(event))


def write_nothing() -> None:
    """Make a write that changes nothing, so that response time reveals nothing. Ignores database
    errors."""
    with suppress(SQLAlchemyError):
        try_to_write()


def try_to_write() -> None:
    """Make a write that changes nothing. Raises SQLAlchemyError if the database is away, or may
    only be read."""
    same = update(AuditChain).where(AuditChain.chain == SERVICE_CHAIN)
    with write_alone() as connection:
        connection.execute(same.values(length=AuditChain.length))


def append(connection: Connection, chain: int, told: Mapping[str, Any]) -> None:
    """Put an event at the end of its chain, within the transaction of this connection."""
    step = (
        update(AuditChain)
        .where(AuditChain.chain == chain)
        .values(length=AuditChain.length + 1)
        .returning(AuditChain.length, AuditChain.hash)
    )
    end = connection.execute(step).one_or_none()
    if end is None:  # the first of this chain; of two that come at once one waits for the other
        beginning = insert_into(AuditChain).on_conflict_do_nothing()
        connection.execute(beginning.values(chain=chain, length=0, hash=""))
        end = connection.execute(step).one()
    row = {**told, "chain": chain, "number": end.length}
    row["hash"] = digest(_key(), end.hash, row)
    connection.execute(insert(AuditEvent).values(row))
    connection.execute(update(AuditChain).where(AuditChain.chain == chain).values(hash=row["hash"]))


def digest(key: str, before: str, row: Mapping[str, Any]) -> str:
    """The hash of an event: of everything it says, and of the hash of the event before."""
    said = {name: row[name] for name in _SAID}
    said["at"] = row["at"].astimezone(UTC).isoformat(timespec="microseconds")
    text = json.dumps([before, said], sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def fingerprint(words: str) -> str:
    """What stands for search words and filters in an event: equal for equal words, and of no use
    to find out what they were."""
    return hmac.new(_key().encode(), words.encode(), hashlib.sha256).hexdigest()[:16]


def ends() -> list[tuple[int, int, str]]:
    """Every chain with its length and last hash: kept elsewhere, they show when a tail was cut."""
    columns = (AuditChain.chain, AuditChain.length, AuditChain.hash)
    rows = db.session.execute(select(*columns).order_by(AuditChain.chain))
    return [(chain, length, last) for chain, length, last in rows]


_SAID = tuple(
    column.key for column in AuditEvent.__table__.columns if column.key not in {"id", "hash"}
)


@contextmanager
def _or_nothing() -> Iterator[None]:
    """Trouble of the database passes and has words of its own; whatever else keeps an event from
    being written must not be taken for a fault of the change that it tells of."""
    try:
        yield
    except OperationalError:
        raise
    except DBAPIError as error:
        raise AuditUnavailable() from error


def _row_of(
    event: Event,
    actor: User | None,
    subject: str | None,
    result: Result,
    details: Mapping[str, Detail],
) -> dict[str, Any]:
    caller = callers.current.get()
    return {
        "at": now(),
        "event": str(event),
        "actor_id": actor.id if actor else None,
        "actor": actor.email if actor else None,
        "role": actor.role if actor else None,
        "via": str(caller.via),
        "ip": caller.ip,
        "request_id": caller.request_id,
        "subject": subject,
        "result": str(result),
        "details": {name: value for name, value in details.items() if value is not None},
    }


def _key() -> str:
    key: str = current_app.config["AUDIT_KEYS"][0]
    return key
