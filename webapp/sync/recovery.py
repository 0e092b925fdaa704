"""Syncs whose worker is gone: handed to another worker, or closed in words that are true.

Every worker looks every few seconds, so that any living one takes over; the database decides
between two that look at the same time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import select

from webapp.errors import ErrorCode
from webapp.extensions import db, transaction
from webapp.models import SyncLog, SyncPhase, SyncStatus
from webapp.queue import (
    enqueue_sync,
    is_queued,
    takes_writes,
    worker_seen_lately,
    workers_connected,
)
from webapp.services import callers
from webapp.services.audit_events import Event
from webapp.sync import ending, trail
from webapp.sync.ending import WHAT_IS_KEPT, Closing
from webapp.sync.lease import ABANDONED_AFTER, QUEUE_LIMIT, database_now, held_by
from webapp.sync.progress import left_alone
from webapp.sync.tolerance import Tolerance

MAX_INTERRUPTIONS = 3
MAX_HAND_OVERS = 20  # that were no interruptions

# A sync that no worker has begun after this is looked for in the queue: Redis may have lost it.
LOOK_IN_QUEUE_AFTER = timedelta(seconds=10)
_MISSED = "syncs_missed_in_the_queue"  # at the last look of this process

CANCELLED = Closing(ErrorCode.SYNC_CANCELLED, f"The sync was cancelled. {WHAT_IS_KEPT}")
LOST = Closing(
    ErrorCode.SYNC_INTERRUPTED,
    "The worker of this sync was lost, or could not write to the database for so long, and no "
    "other could take over. What was stored is kept; start the sync again.",
)
POISON = Closing(
    ErrorCode.SYNC_INTERRUPTED,
    "The worker of this sync was lost, or could not write to the database for too long, "
    f"{MAX_INTERRUPTIONS} times, so it was not tried again. "
    "What was stored is kept. Look at the worker's log before you start the sync again.",
)
HANDED_OVER_TOO_OFTEN = Closing(
    ErrorCode.SYNC_INTERRUPTED,
    f"This sync was handed on {MAX_HAND_OVERS} times without coming to its end. "
    "What was stored is kept. Look at the workers' logs before you start the sync again.",
)
NEVER_PICKED_UP = Closing(
    ErrorCode.QUEUE_UNAVAILABLE,
    "No worker picked up this sync within 5 minutes, and none is connected. "
    "Start a worker, then start the sync again.",
)
OUT_OF_REACH = Closing(
    ErrorCode.QUEUE_UNAVAILABLE,
    "No worker picked up this sync within 15 minutes, for the queue (Redis) could not be reached, "
    "or took nothing. Repair it, then start the sync again.",
)


def closing_for(log: SyncLog, moment: datetime) -> Closing | None:
    """How a sync has to be closed at this moment; None while it may live."""
    if log.status != SyncStatus.RUNNING:
        return None
    ends = log.lease_expires_at
    if log.worker is not None and (ends is None or moment <= ends):
        return None
    if log.cancel_requested_at is not None:
        return CANCELLED
    if log.worker is None:
        if log.attempt - log.interruptions > MAX_HAND_OVERS:
            return HANDED_OVER_TOO_OFTEN
        return _closing_for_waiting(moment - log.waiting_since)
    if log.interruptions + 1 >= MAX_INTERRUPTIONS:
        return POISON
    return LOST if ends is not None and moment > ends + ABANDONED_AFTER else None


def _closing_for_waiting(waited: timedelta) -> Closing | None:
    """Behind another clinic's long sync a sync may wait; without any worker it may not."""
    if waited <= QUEUE_LIMIT:
        return None
    workers = workers_connected()
    if workers is None:  # Redis may be back in a moment, and the workers with it
        return OUT_OF_REACH if waited > 3 * QUEUE_LIMIT else None
    return NEVER_PICKED_UP if workers == 0 and not worker_seen_lately() else None


def recover_stale_syncs() -> list[int]:
    """Close what must be closed, hand over what can go on, queue again what Redis lost.

    Returns the ids of the syncs that were handed over.
    """
    handed_over, tolerance = [], Tolerance()
    for log_id, attempt in _stale():
        with tolerance.of(sync_log_id=log_id):
            if settle(log_id) is None and hand_over(log_id, attempt, interrupted=True):
                handed_over.append(log_id)
    known: dict[str, Any] = current_app.extensions
    missed_before, missed = known.get(_MISSED, set()), set()
    for log_id, attempt in _waiting_long():
        # A new attempt, for Redis may still hold a broken job under the name of this one.
        with tolerance.of(sync_log_id=log_id):
            if settle(log_id) is not None or is_queued(log_id, attempt):
                continue
            missed.add((log_id, attempt))
            # What is missed for the first time a worker may just have taken to begin with it.
            if (log_id, attempt) not in missed_before:
                continue
            if takes_writes():  # else attempts would be used up that no worker hears of
                hand_over(log_id, attempt, interrupted=False, unclaimed=True)
    known[_MISSED] = missed
    return handed_over


def hand_over(
    sync_log_id: int, attempt: int, *, interrupted: bool, unclaimed: bool = False
) -> bool:
    """Give a sync to whichever worker is free. False if it was not this attempt's to give.

    `interrupted` counts towards the three losses after which a sync is not tried again; a worker
    that is told to stop hands over without counting. `unclaimed`: only if no worker has it by now.
    """
    conditions = [*held_by(sync_log_id, attempt)]
    with transaction() as session:
        moment = database_now()
        if interrupted:
            conditions.append(SyncLog.lease_expires_at <= moment)
        if unclaimed:
            conditions.append(SyncLog.worker.is_(None))
        theirs = select(SyncLog).where(*conditions).with_for_update()
        handed = session.scalar(theirs.execution_options(populate_existing=True))
        if handed is None:
            return False
        handed.attempt = attempt + 1
        handed.interruptions += int(interrupted)
        begun = handed.checkpoint
        if begun and unclaimed:  # it has waited for nobody: no time of its own
            waited = (moment - handed.waiting_since).total_seconds()
            handed.checkpoint = begun | {"waited": begun.get("waited", 0.0) + waited}
        handed.worker, handed.lease_expires_at = None, moment
        handed.progress = left_alone(handed.progress, SyncPhase.QUEUED)
        trail.record(
            Event.SYNC_HANDED_OVER,
            sync_log_id,
            handed.organization_id,
            attempt=attempt + 1,
            interrupted=interrupted,
        )
    # What was begun goes on before what nobody has begun.
    enqueue_sync(sync_log_id, attempt + 1, at_front=bool(begun))
    return True


def settle(sync_log_id: int) -> Closing | None:
    """Close one sync if it has to be closed; says how it was."""
    with transaction() as session:
        log = session.get(SyncLog, sync_log_id, with_for_update=True)
        return None if log is None else close_if_due(log)


def close_if_due(log: SyncLog) -> Closing | None:
    """Close a sync that the caller's transaction has locked, if it has to be closed; says how it
    was. In the trail that is nobody's doing who only looks at it, or starts the next one."""
    moment = database_now()
    closing = closing_for(log, moment)
    if closing is not None:
        with callers.called_by(callers.SYSTEM):
            ending.fail(log, closing, moment)
    return closing


def _stale() -> list[tuple[int, int]]:
    query = select(SyncLog.id, SyncLog.attempt).where(
        SyncLog.status == SyncStatus.RUNNING,
        SyncLog.worker.is_not(None),
        SyncLog.lease_expires_at <= database_now(),
    )
    return [(row.id, row.attempt) for row in db.session.execute(query)]


def _waiting_long() -> list[tuple[int, int]]:
    waiting = SyncLog.status == SyncStatus.RUNNING, SyncLog.worker.is_(None)
    query = select(SyncLog).where(*waiting).order_by(SyncLog.id)
    moment = database_now()
    return [
        (log.id, log.attempt)
        for log in db.session.scalars(query)
        if moment - log.waiting_since > LOOK_IN_QUEUE_AFTER
    ]
