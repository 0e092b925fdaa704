"""The right to work on a sync: held by one attempt until a time, renewed with every write.

A worker that was replaced while it hung is not told so; its next write simply finds no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Interval, func, literal, or_, select, update

from webapp.clock import now
from webapp.extensions import db, on_postgresql, transaction
from webapp.models import Organization, SyncLog, SyncStatus
from webapp.models.types import UtcDateTime
from webapp.sync.database_trouble import patiently

# Long enough for a page to wait on a busy database, short enough that a dead worker is replaced
# within half a minute.
LEASE = timedelta(seconds=15)

# How long a sync whose worker is gone may still be taken over. After that it is closed, and shown
# as closed even if nobody is left who could write that down.
ABANDONED_AFTER = timedelta(seconds=30)

# How long a sync may wait in the queue for a worker that never comes.
QUEUE_LIMIT = timedelta(minutes=5)


class LeaseLost(Exception):
    """Another attempt owns the sync, or it is closed: stop without a word, and write nothing."""


class TakenBack(Exception):
    """The database has lost what it had confirmed, as a standby does that takes over without the
    last commits: go on from what it holds."""


class CancelRequested(Exception):
    """Somebody asked for this sync to be cancelled."""


@dataclass(frozen=True)
class Standing:
    """How far a sync has come, as committed."""

    success: int
    failed: int
    checkpoint: dict[str, Any]


def held_by(sync_log_id: int, attempt: int) -> tuple[ColumnElement[bool], ...]:
    """The fence around a sync: true of its row while it runs and this attempt is the one that may
    write to it. Whatever an attempt does to its sync is done where this holds, or not at all."""
    return (
        SyncLog.id == sync_log_id,
        SyncLog.attempt == attempt,
        SyncLog.status == SyncStatus.RUNNING,
    )


def claim(sync_log_id: int, attempt: int, worker: str) -> float:
    """Take a sync that nobody works on; the seconds that it has waited since it was handed over.
    Raises LeaseLost if it is not there to be taken.

    A second delivery of the same job, or a job of an earlier attempt, ends here.
    """
    free: list[ColumnElement[bool]] = [SyncLog.worker.is_(None)]

    def take() -> float:
        waited = 0.0 if attempt == 1 else _waited(sync_log_id)
        claimed = db.session.scalar(
            update(SyncLog)
            .where(*held_by(sync_log_id, attempt), or_(*free))
            .values(worker=worker, lease_expires_at=_from_now(LEASE))
            .returning(SyncLog.id)
        )
        free.append(SyncLog.worker == worker)  # asked again, it may be ours: the answer was lost
        if claimed is None:
            raise LeaseLost
        return waited

    return patiently(take)


def _waited(sync_log_id: int) -> float:
    query = select(SyncLog.lease_expires_at).where(
        SyncLog.id == sync_log_id, SyncLog.worker.is_(None)
    )
    handed_over_at = db.session.scalar(query)
    return (database_now() - handed_over_at).total_seconds() if handed_over_at else 0.0


def check(sync_log_id: int, attempt: int, confirmed: int) -> Standing:
    """First thing in a transaction that stores patients: locks the clinic and then the sync, so
    that to its end nobody else can write to them. What it returns is what was committed, and not
    what this process believes: the answer to a commit can get lost.

    Raises LeaseLost if another attempt owns it or it is closed, CancelRequested if it is to be
    cancelled, TakenBack if it does not hold as many writes of this sync as were `confirmed`.
    """
    row = db.session.execute(
        select(
            SyncLog.attempt,
            SyncLog.status,
            SyncLog.cancel_requested_at,
            SyncLog.lease_expires_at,
            SyncLog.records_success,
            SyncLog.records_failed,
            SyncLog.checkpoint,
            _clock().label("moment"),
        )
        .join_from(Organization, SyncLog, SyncLog.organization_id == Organization.id)
        .where(SyncLog.id == sync_log_id)
        # In this order, which is that of everybody, and of the same strength as `locks.clinic`.
        .with_for_update(of=[Organization, SyncLog], key_share=True)
    ).one_or_none()
    if row is None or row.attempt != attempt or row.status != SyncStatus.RUNNING:
        raise LeaseLost
    if row.lease_expires_at is None:
        raise TakenBack  # what had claimed it
    if row.moment > row.lease_expires_at + ABANDONED_AFTER:
        raise LeaseLost  # it was shown as failed by now, though nobody could write that down
    if row.cancel_requested_at is not None:
        raise CancelRequested
    checkpoint = row.checkpoint or {}
    # One more if only the answer was lost.
    if checkpoint.get("writes", 0) - confirmed not in (0, 1):
        raise TakenBack
    return Standing(row.records_success, row.records_failed, checkpoint)


def write(sync_log_id: int, attempt: int, **values: Any) -> None:
    """Renew the lease and write `values` to the sync, inside the caller's transaction.

    Raises LeaseLost if another attempt owns it or it is closed, CancelRequested if it is to be
    cancelled.
    """
    row = db.session.execute(
        update(SyncLog)
        .where(
            *held_by(sync_log_id, attempt),
            SyncLog.lease_expires_at >= _from_now(-ABANDONED_AFTER),
        )
        .values(lease_expires_at=_from_now(LEASE), **values)
        .returning(SyncLog.cancel_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        raise LeaseLost
    if row.cancel_requested_at is not None:
        raise CancelRequested


def expire(sync_log_id: int, attempt: int) -> None:
    """Give up the lease of an attempt whose worker is known to be gone."""
    with transaction() as session:
        session.execute(
            update(SyncLog)
            .where(*held_by(sync_log_id, attempt))
            .values(lease_expires_at=database_now())
        )


def database_now() -> datetime:
    """The database's own time: workers on several machines must not disagree about a lease.

    SQLite has no clock but the one of the machine that every process of it runs on.
    """
    return db.session.execute(select(_clock())).scalar_one() if on_postgresql() else now()


def _clock() -> ColumnElement[datetime]:
    """The same within a statement, which saves a trip there and back."""
    if on_postgresql():
        return func.clock_timestamp(type_=UtcDateTime())
    return literal(now(), UtcDateTime())


def _from_now(time: timedelta) -> datetime | ColumnElement[Any]:
    """So long from now, or before, within a statement."""
    if on_postgresql():
        return func.clock_timestamp() + literal(time, Interval())
    return now() + time
