"""The rows of patients: what is known, and what is new. Inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from webapp.cliniko.records import PatientRecord, PatientState
from webapp.extensions import db
from webapp.models import Patient, PatientSyncStatus
from webapp.services import search
from webapp.sync.failures import Refusal

_REFUSED = "the database refused a value of this record"

Known = Row[*tuple[Any, ...]]


@dataclass(frozen=True)
class Target:
    """Where a page belongs: the clinic, and the sync that read it."""

    organization_id: int
    sync_log_id: int
    shard: str | None


def known_rows(target: Target, keys: list[str]) -> dict[str, Known]:
    """The rows of these patients by Cliniko's id, with what tells whether a record changes them."""
    rows = db.session.execute(
        select(
            Patient.cliniko_patient_id,
            Patient.content_hash,
            Patient.state,
            Patient.merged_into,
            Patient.cliniko_updated_at,
            Patient.deleted_at,
            Patient.sync_status,
            Patient.last_sync_id,
        ).where(
            Patient.organization_id == target.organization_id, Patient.cliniko_patient_id.in_(keys)
        )
    )
    return {row.cliniko_patient_id: row for row in rows}


def write_records(
    target: Target,
    records: list[PatientRecord],
    known: dict[str, Known],
    seen_at: datetime,
) -> list[Refusal]:
    """Insert or update; if the database refuses the lot, one by one, each in its own savepoint."""
    tombstones, living = [], []
    for record in records:
        if record.state is PatientState.DELETED and record.cliniko_patient_id in known:
            tombstones.append(record)
        else:
            living.append(_values(target, record, seen_at))
    _mark_deleted(target, tombstones, seen_at)
    if not living:
        return []
    try:
        with db.session.begin_nested():
            _upsert(living)
        return []
    except (IntegrityError, DataError) as error:
        refusals = [refusal for row in living if (refusal := _write_one(row)) is not None]
        if len(refusals) == len(living) > 1:
            raise error
        return refusals


def confirm(target: Target, keys: list[str], seen_at: datetime) -> None:
    """Note that these patients were seen again, unchanged."""
    if keys:
        db.session.execute(
            update(Patient)
            .where(
                Patient.organization_id == target.organization_id,
                Patient.cliniko_patient_id.in_(keys),
            )
            .values(last_synced=seen_at, last_sync_id=target.sync_log_id)
            .execution_options(synchronize_session=False)
        )


def mark_failed(target: Target, keys: list[str]) -> None:
    """The newest version of these patients could not be stored; the older one stays."""
    if keys:
        db.session.execute(
            update(Patient)
            .where(
                Patient.organization_id == target.organization_id,
                Patient.cliniko_patient_id.in_(keys),
            )
            .values(sync_status=PatientSyncStatus.FAILED, last_sync_id=target.sync_log_id)
            .execution_options(synchronize_session=False)
        )


def _write_one(values: dict[str, Any]) -> Refusal | None:
    try:
        with db.session.begin_nested():
            _upsert([values])
    except (IntegrityError, DataError):
        return Refusal(values["cliniko_patient_id"], "record", _REFUSED)
    return None


def _upsert(rows: list[dict[str, Any]]) -> None:
    dialect = postgresql if db.engine.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(Patient)
    kept = ("organization_id", "cliniko_patient_id")
    statement = statement.on_conflict_do_update(
        index_elements=kept,
        set_={name: statement.excluded[name] for name in rows[0] if name not in kept},
    )
    db.session.connection().execute(statement, rows)


def _mark_deleted(target: Target, records: list[PatientRecord], seen_at: datetime) -> None:
    """A deleted patient keeps what we know of them; Cliniko only says when they went."""
    for record in records:
        db.session.execute(
            update(Patient)
            .where(
                Patient.organization_id == target.organization_id,
                Patient.cliniko_patient_id == record.cliniko_patient_id,
            )
            .values(
                state=PatientState.DELETED,
                deleted_at=record.deleted_at,
                last_synced=seen_at,
                last_changed=seen_at,
                last_sync_id=target.sync_log_id,
                sync_status=PatientSyncStatus.SUCCESS,
            )
            .execution_options(synchronize_session=False)
        )


def _values(target: Target, record: PatientRecord, seen_at: datetime) -> dict[str, Any]:
    phones = [{"type": kind, "number": number} for kind, number in record.phones]
    return {
        "organization_id": target.organization_id,
        "cliniko_patient_id": record.cliniko_patient_id,
        "state": str(record.state),
        "first_name": record.first_name,
        "last_name": record.last_name,
        "preferred_first_name": record.preferred_first_name,
        "email": record.email,
        "phone": record.phone,
        "phones": phones,
        "date_of_birth": record.date_of_birth,
        "cliniko_created_at": record.created_at,
        "cliniko_updated_at": record.updated_at,
        "archived_at": record.archived_at,
        "merged_at": record.merged_at,
        "merged_into": record.merged_into,
        "deleted_at": record.deleted_at,
        "content_hash": record.content_hash,
        "search_text": search.search_text(
            record.first_name, record.last_name, record.preferred_first_name, record.email
        ),
        "search_digits": search.search_digits([phone["number"] for phone in phones], target.shard),
        "sort_key": search.sort_key(record.last_name, record.first_name),
        "sync_status": str(PatientSyncStatus.SUCCESS),
        "last_synced": seen_at,
        "last_changed": seen_at,
        "last_sync_id": target.sync_log_id,
    }
