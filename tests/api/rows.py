"""Rows for tests that need no whole sync behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from webapp.cliniko.records import PatientRecord, PatientState
from webapp.extensions import transaction
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin, SyncStatus
from webapp.sync.failures import FailedRecord
from webapp.sync.held_rows import replace_waiting
from webapp.sync.progress import Progress
from webapp.sync.target import Target
from webapp.sync.upsert import RecordPage, store_pages

MORNING = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def make_log(
    organization: Organization, status: SyncStatus = SyncStatus.COMPLETED, **values: Any
) -> SyncLog:
    """A sync of that morning that took 4 minutes and 22 seconds, or still runs."""
    started_at = values.pop("started_at", MORNING)
    ended_at = None if status is SyncStatus.RUNNING else started_at + timedelta(seconds=262)
    row: dict[str, Any] = {
        "organization_id": organization.id,
        "operation_type": OperationType.FULL_PATIENTS,
        "status": status,
        "origin": SyncOrigin.COMMAND,
        "started_at": started_at,
        "completed_at": ended_at,
        "progress": Progress(OperationType.FULL_PATIENTS).metadata(),
    }
    with transaction() as session:
        log = SyncLog(**(row | values))
        session.add(log)
    return log


def store(
    organization: Organization, *records: PatientRecord, seen_at: datetime = MORNING
) -> SyncLog:
    """Store patients as a sync does, and return the sync."""
    log = make_log(organization, started_at=seen_at)
    with transaction():
        target = Target(organization.id, log.id, "au1")
        store_pages(target, [RecordPage(1, records)], seen_at=seen_at)
    return log


def refuse(organization: Organization, count: int, log: SyncLog | None = None) -> SyncLog:
    """A sync in which so many records could not be stored: a new one unless it is given."""
    log = log or make_log(organization, records_failed=count)
    failed = [FailedRecord(f"90{n}", "date_of_birth", "is no date", page=3) for n in range(count)]
    with transaction():
        target = Target(organization.id, log.id, "au1")
        store_pages(target, [RecordPage(3, (), failed)], seen_at=MORNING)
    return log


def record(patient_id: int, first_name: str, last_name: str, **values: Any) -> PatientRecord:
    """A patient as Cliniko sent it: active, unless `values` say otherwise."""
    values.setdefault("state", PatientState.ACTIVE)
    return PatientRecord(str(patient_id), first_name=first_name, last_name=last_name, **values)


def ended(organization: Organization, **told: int) -> SyncLog:
    """A completed sync whose metadata tells this."""
    progress = Progress(OperationType.FULL_PATIENTS).metadata() | told
    return make_log(organization, progress=progress)


def hold(organization: Organization, count: int) -> SyncLog:
    """A sync that held the removal of so many patients: Olivia Nguyen 001 and the following."""
    numbers = range(1, count + 1)
    store(organization, *(record(number, "Olivia", f"Nguyen {number:03}") for number in numbers))
    log = ended(organization, removals_held=count)
    gone = [
        PatientRecord(str(n), PatientState.DELETED, deleted_at=MORNING - timedelta(days=1))
        for n in numbers
    ]
    with transaction():
        replace_waiting(Target(organization.id, log.id, "au1"), gone, MORNING)
    return log
