"""Starting the syncs that are due by the clinics' schedules.

Every worker looks every few seconds, so there is no clock process that could be missing, or be
there twice; the database decides between two that look at the same time. A run that was missed
while nobody looked is made up for once.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, update

from webapp.clock import MAY_DIFFER
from webapp.errors import QueueUnavailable, SyncAlreadyRunning
from webapp.extensions import db, transaction
from webapp.models import (
    CAN_BE_SYNCED,
    OperationType,
    Organization,
    Schedule,
    SyncLog,
    SyncOrigin,
    SyncStatus,
)
from webapp.queue import enqueue_sync, takes_writes
from webapp.services import locks, schedules
from webapp.sync import history
from webapp.sync.lease import database_now
from webapp.sync.start import admit
from webapp.sync.tolerance import Tolerance

# No more syncs are started while so many wait for a worker: whoever presses a button then waits
# behind these few, and not behind a thousand clinics that chose the same hour.
MOST_WAITING = 10


@dataclass(frozen=True)
class _Due:
    """A run whose time has come: `at` is what the schedule said when we looked."""

    organization_id: int
    at: datetime
    full: bool


def start_due_syncs() -> list[int]:
    """Start what is due, the longest due first; returns the ids of the syncs that were started.

    Where a sync runs already a run waits for its end, and is skipped then, if what has ended has
    completed and read all that this one would.
    """
    moment = database_now()  # of workers whose clocks are apart each would plan against the other
    room = MOST_WAITING - _waiting()
    started: list[int] = []
    tolerance = Tolerance()
    for organization_id in schedules.planned_too_late(moment):
        with tolerance.of(organization_id=organization_id):
            schedules.plan_anew(organization_id, moment)
    for due in _due(moment):
        if len(started) >= room or not takes_writes():  # no worker would hear of it: it stays due
            break
        with tolerance.of(organization_id=due.organization_id):
            try:
                log = _start(due, moment)
            except SyncAlreadyRunning:
                continue
            if log is not None:
                started.append(log.id)
                with suppress(QueueUnavailable):  # the look for lost syncs queues it again
                    enqueue_sync(log.id, log.attempt)
    return started


def _start(due: _Due, moment: datetime) -> SyncLog | None:
    """The row of the sync, in the transaction that moves the schedule on; None if another worker
    was quicker."""
    with transaction():
        organization = locks.clinic(due.organization_id)
        if not organization.can_be_synced:
            return None
        if _has_been_read(organization, due, moment):
            _moved_on(organization, due, moment, skipped=True)
            return None
        if not _moved_on(organization, due, moment):
            return None
        wanted = OperationType.FULL_PATIENTS if due.full else OperationType.CHANGED_PATIENTS
        return admit(organization, wanted, origin=SyncOrigin.SCHEDULE)


def _has_been_read(organization: Organization, due: _Due, moment: datetime) -> bool:
    """Whether a sync that was under way has brought what this run would. Whichever failed has not,
    and until the next run it may be hours; nor can be told when one has ended that is said to have
    ended later than now."""
    enough = [OperationType.FULL_PATIENTS]
    if not due.full:
        enough = [operation for operation in OperationType if operation.sees_all_changes]
    ended = [history.last_completed(organization, operation) for operation in enough]
    times = [each.completed_at for each in ended if each is not None]
    return any(at is not None and due.at <= at <= moment + MAY_DIFFER for at in times)


def _moved_on(
    organization: Organization, due: _Due, moment: datetime, *, skipped: bool = False
) -> bool:
    """Move the schedule to its next run, if it still stands where we saw it: compare and set. A
    full sync reads the changes too; one that is skipped reads nothing, and what was read before it
    may be older than the changes that are due."""
    schedule = schedules.of(organization)
    if schedule is None:
        return False
    times = schedules.timetable(organization, schedule)
    column = Schedule.next_full_at if due.full else Schedule.next_changes_at
    values: dict[str, Any] = {}
    if skipped:  # the newest: changes that were due before a night may be skipped behind it
        before = schedule.skipped_at
        values["skipped_at"] = max(before, due.at) if before and before <= moment else due.at
    if due.full:
        values["next_full_at"] = times.next_full(moment)
    if not (due.full and skipped):
        values["next_changes_at"] = times.next_changes(moment)
    moved = db.session.scalar(
        update(Schedule)
        .where(Schedule.organization_id == organization.id, column == due.at)
        .values(values)
        .returning(Schedule.organization_id)
        .execution_options(synchronize_session=False)
    )
    return moved is not None


def _due(moment: datetime) -> list[_Due]:
    rows = db.session.execute(
        select(Schedule.organization_id, Schedule.next_full_at, Schedule.next_changes_at)
        .join(Organization, Organization.id == Schedule.organization_id)
        .where(
            CAN_BE_SYNCED,
            or_(Schedule.next_full_at <= moment, Schedule.next_changes_at <= moment),
        )
    )
    due = []
    for organization_id, *times in rows:
        for at, full in zip(times, (True, False), strict=True):
            if at is not None and at <= moment:
                due.append(_Due(organization_id, at, full))
                break
    return sorted(due, key=lambda each: each.at)


def _waiting() -> int:
    """How many syncs wait for a worker."""
    query = select(func.count()).where(
        SyncLog.status == SyncStatus.RUNNING, SyncLog.worker.is_(None)
    )
    return db.session.scalar(query) or 0
