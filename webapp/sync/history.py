"""Syncs as they stand: the latest, the list, one with its failed records, the summary of a clinic.
One whose worker is gone for good is closed when it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, bindparam, case, func, inspect, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import joinedload, make_transient

from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.errors import AuditUnavailable, NotFound
from webapp.extensions import db
from webapp.models import (
    BRINGS_IN_STEP,
    OperationType,
    Organization,
    SyncFailure,
    SyncLog,
    SyncStatus,
)
from webapp.services import counts
from webapp.sync import ending, lease, recovery

# Built once: open dashboards ask it hundreds of times a second.
_ONE = select(SyncLog).where(
    SyncLog.organization_id == bindparam("organization_id"), SyncLog.id == bindparam("id")
)


@dataclass(frozen=True)
class SyncPage:
    """Some syncs, newest first, and how many match in all."""

    logs: list[SyncLog]
    total: int
    has_more: bool


@dataclass(frozen=True)
class StatusSummary:
    """Where a clinic stands. `latest` None: never synced. Counts are of active patients."""

    latest: SyncLog | None
    last_completed: SyncLog | None
    total_in_cliniko: int | None
    synced_to_database: int

    @property
    def success_rate(self) -> float | None:
        """Of the latest sync; None if never synced."""
        return None if self.latest is None else self.latest.success_rate


def find(
    organization: Organization,
    *,
    limit: int,
    offset: int = 0,
    status: SyncStatus | None = None,
    operation_type: OperationType | None = None,
) -> SyncPage:
    """The syncs of a clinic that match, newest first."""
    unsettled = settle_abandoned(organization)
    conditions = [SyncLog.organization_id == organization.id]
    if status is not None:
        conditions.append(_status(unsettled) == status)
    if operation_type is not None:
        conditions.append(SyncLog.operation_type == operation_type)
    total = db.session.scalar(select(func.count()).select_from(SyncLog).where(*conditions)) or 0
    query = select(SyncLog).where(*conditions).order_by(SyncLog.id.desc())
    query = query.options(joinedload(SyncLog.started_by))
    logs = list(db.session.scalars(query.limit(limit).offset(offset)))
    if unsettled is not None:
        logs = [unsettled if log.id == unsettled.id else log for log in logs]
    return SyncPage(logs, total, has_more=offset + len(logs) < total)


def get(organization: Organization, sync_log_id: int) -> SyncLog:
    """One sync of this clinic. Raises NotFound for one that is none of the clinic's."""
    asked = {"organization_id": organization.id, "id": sync_log_id}
    log: SyncLog | None = db.session.scalar(_ONE, asked)
    if log is None:
        raise NotFound(
            "This organization has no sync with this id.", organization_id=organization.id
        )
    return _as_it_is(log)


def latest(organization: Organization) -> SyncLog | None:
    """The newest sync, running or not."""
    log = db.session.scalar(_newest(organization))
    return log and _as_it_is(log)


def latest_in_step(organization: Organization) -> SyncLog | None:
    """The newest sync, running or not, that is to bring the clinic in step."""
    log = db.session.scalar(_newest(organization, BRINGS_IN_STEP))
    return log and _as_it_is(log)


def last_completed(
    organization: Organization, operation_type: OperationType | None = None
) -> SyncLog | None:
    """The newest sync that completed, of this type, or of any that brings the clinic in step."""
    right = SyncLog.operation_type == operation_type if operation_type else BRINGS_IN_STEP
    return db.session.scalar(_newest(organization, right, SyncLog.status == SyncStatus.COMPLETED))


def last_begun(organization: Organization, operation_type: OperationType) -> SyncLog | None:
    """The newest sync of this type, however it ended."""
    return db.session.scalar(_newest(organization, SyncLog.operation_type == operation_type))


def failures(log: SyncLog, *, limit: int, offset: int) -> list[SyncFailure]:
    """The records that a sync could not store, in the order they came."""
    return list(
        db.session.scalars(
            select(SyncFailure)
            .where(SyncFailure.sync_log_id == log.id)
            .order_by(SyncFailure.id)
            .limit(limit)
            .offset(offset)
        )
    )


def failure_count(log: SyncLog) -> int:
    """How many of them are told of: fewer than have failed, where a patient was forgotten since."""
    theirs = select(func.count()).where(SyncFailure.sync_log_id == log.id)
    return db.session.scalar(theirs) or 0


def summary(organization: Organization) -> StatusSummary:
    """Where a clinic stands with Cliniko."""
    latest = latest_in_step(organization)
    completed = _completed_until(organization, latest) if latest else None
    return StatusSummary(
        latest,
        completed,
        completed.progress.get("active_found") if completed else organization.cliniko_patients,
        counts.by_state(organization)[PatientState.ACTIVE],
    )


def version(organization: Organization) -> str:
    """A few words that change whenever the syncs or the summary of a clinic do.

    Only the newest sync ever changes, and patients only together with it or with the row of their
    clinic: two rows, found by their keys, tell of everything but old syncs that were deleted.
    """
    log = latest(organization)
    if log is None:
        return f"0-{organization.cliniko_patients}"
    clinic = (organization.cliniko_patients, organization.patients_changed_at)
    state = (log.status, log.records_success, log.records_failed, log.progress, log.error_code)
    content = json.dumps([*clinic, *state], default=str, sort_keys=True)
    return f"{log.id}-{hashlib.sha256(content.encode()).hexdigest()[:20]}"


def settle_abandoned(organization: Organization) -> SyncLog | None:
    """Close the clinic's running sync if its worker is gone for good; called before syncs are read.
    Returns None, or, if the database cannot be written to, the sync as it is to be shown."""
    log = db.session.scalar(_newest(organization, SyncLog.status == SyncStatus.RUNNING))
    shown = log and _as_it_is(log)
    return shown if shown is not None and inspect(shown).transient else None


def _completed_until(organization: Organization, latest: SyncLog) -> SyncLog | None:
    """The last completed one beside the latest of those that bring a clinic in step. Both belong to
    one moment: the latest, if it is that, and else one before it, whatever has ended meanwhile."""
    if latest.status == SyncStatus.COMPLETED:
        return latest
    before = BRINGS_IN_STEP, SyncLog.status == SyncStatus.COMPLETED, SyncLog.id < latest.id
    return db.session.scalar(_newest(organization, *before))


def _status(unsettled: SyncLog | None) -> ColumnElement[str]:
    """The status of each sync as it is shown."""
    if unsettled is None:
        return SyncLog.status.expression
    return case((SyncLog.id == unsettled.id, unsettled.status), else_=SyncLog.status)


def _newest(organization: Organization, *conditions: ColumnElement[bool]) -> Select[SyncLog]:
    query = select(SyncLog).where(SyncLog.organization_id == organization.id, *conditions)
    return query.order_by(SyncLog.id.desc()).limit(1)


def _as_it_is(log: SyncLog) -> SyncLog:
    """The sync as it truly stands: one without a living worker is closed, and if the database
    cannot be written to it is at least shown as closed."""
    if recovery.closing_for(log, now()) is None:
        return log
    moment = lease.database_now()  # this machine's clock may run ahead
    closing = recovery.closing_for(log, moment)
    if closing is None:
        return log
    log_id = log.id
    try:
        recovery.settle(log_id)
        return db.session.get_one(SyncLog, log_id)
    except (OperationalError, AuditUnavailable):
        db.session.rollback()
        # With all that lists tell of it: what has left the session loads nothing any more.
        whole = [joinedload(SyncLog.started_by)]
        shown = db.session.get_one(SyncLog, log_id, options=whole, populate_existing=True)
        if inspect(shown).persistent:
            make_transient(shown)
        ending.show_failed(shown, closing, moment)
        return shown
