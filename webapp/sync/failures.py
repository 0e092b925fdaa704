"""The records that a sync could not store, and which of them are open still. Inside the caller's
transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, bindparam, delete, func, insert, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from webapp.cliniko.records import Malformed
from webapp.extensions import db
from webapp.models import (
    Organization,
    Patient,
    PatientSyncStatus,
    SyncFailure,
    SyncLog,
    SyncStatus,
)
from webapp.models.sync_log import HAS_FAILURES, READS_ALL


@dataclass(frozen=True)
class FailedRecord:
    """A record that cannot be stored, and why; its id or, without one, its place."""

    key: str
    field: str
    reason: str
    page: int = 0

    @classmethod
    def of(cls, record: Malformed, page: int, place: int) -> FailedRecord:
        """What is noted of a malformed record, by its place if its id could not be read."""
        key = record.cliniko_patient_id or f"page {page}, record {place}"
        return cls(key[:40], record.field[:40], record.reason[:200], page)


# The key of a record without a usable id.
_BY_PLACE = "page %"


def _still_open(organization_id: InstrumentedAttribute[int] | int) -> Select[str]:
    """Cliniko's ids of a clinic's patients whose newest version could not be stored until now: of
    the records that have failed in its last completed sync of all patients, and since then."""
    full = aliased(SyncLog)
    last_full = (
        select(full.id)
        .where(
            full.organization_id == organization_id,
            READS_ALL,
            full.status == SyncStatus.COMPLETED,
        )
        .order_by(full.id.desc())
        .limit(1)
        .correlate(Organization)
        .scalar_subquery()
    )
    stored_since = (
        select(Patient.id)
        .where(
            Patient.organization_id == organization_id,
            Patient.cliniko_patient_id == SyncFailure.cliniko_patient_id,
            Patient.sync_status == PatientSyncStatus.SUCCESS,
            Patient.last_synced > SyncFailure.failed_at,
        )
        .correlate(Organization, SyncFailure)
        .exists()
    )
    return (
        select(SyncFailure.cliniko_patient_id)
        .join(SyncLog, SyncLog.id == SyncFailure.sync_log_id)
        .where(
            SyncLog.organization_id == organization_id,
            SyncLog.id >= func.coalesce(last_full, 0),
            HAS_FAILURES,
            SyncFailure.cliniko_patient_id.not_like(_BY_PLACE),  # which cannot be asked for
            ~stored_since,
        )
        .correlate(Organization)
    )


# Built once: every open clinics page asks it again and again.
_WITH_SOME_OPEN = select(Organization.id).where(
    Organization.id.in_(bindparam("ids", expanding=True)), _still_open(Organization.id).exists()
)


def open_keys(organization_id: int) -> list[str]:
    """Cliniko's ids of the clinic's patients whose newest version could not be stored until now."""
    keys = db.session.scalars(_still_open(organization_id).distinct())
    return sorted(filter(str.isdigit, keys), key=int)


def with_some_open(organization_ids: list[int]) -> set[int]:
    """Which of these clinics have such patients, by one question for all."""
    return set(db.session.scalars(_WITH_SOME_OPEN, {"ids": organization_ids}))


def failed_before(sync_log_id: int) -> set[str]:
    """The keys of the records that have failed in this sync so far."""
    query = select(SyncFailure.cliniko_patient_id).where(SyncFailure.sync_log_id == sync_log_id)
    return set(db.session.scalars(query))


def some_without_id(sync_log_id: int) -> bool:
    """Whether a record without a usable id has failed in this sync: read again, it would count as
    another one."""
    query = select(SyncFailure.id).where(
        SyncFailure.sync_log_id == sync_log_id, SyncFailure.cliniko_patient_id.like(_BY_PLACE)
    )
    return db.session.scalar(query.limit(1)) is not None


def note_failures(
    sync_log_id: int, records: Iterable[FailedRecord], *, failed_at: datetime
) -> None:
    """Keep which records failed, where and why."""
    rows = [
        {
            "sync_log_id": sync_log_id,
            "cliniko_patient_id": record.key,
            "page": record.page,
            "field": record.field,
            "reason": record.reason,
            "failed_at": failed_at,
        }
        for record in records
    ]
    if rows:
        db.session.execute(insert(SyncFailure), rows)


def forget_failures(sync_log_id: int, healed: list[str]) -> None:
    """These records could be stored after all."""
    if healed:
        db.session.execute(
            delete(SyncFailure)
            .where(
                SyncFailure.sync_log_id == sync_log_id, SyncFailure.cliniko_patient_id.in_(healed)
            )
            .execution_options(synchronize_session=False)
        )
