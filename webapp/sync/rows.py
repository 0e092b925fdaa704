"""The rows of patients: what is known, and what is new. Inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import ARRAY, BigInteger, ColumnElement, String, any_, func, literal, select, update
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import aliased

from webapp.cliniko.records import PatientRecord, PatientState
from webapp.extensions import db, on_postgresql
from webapp.models import Patient, PatientSyncStatus
from webapp.sync.bulk import ROWS_TOGETHER, rows_of, upsert
from webapp.sync.failures import FailedRecord
from webapp.sync.target import Target

_REFUSED = "the database refused a value of this record"
_ALL_REFUSED = 20  # so many at once, and no other stored: it is not these records

# Made once, for making it takes a millisecond.
_ONE = aliased(Patient)

Known = sqlalchemy.Row[*tuple[Any, ...]]


def among(target: Target, keys: Sequence[str]) -> ColumnElement[bool]:
    """Whether a patient is one of these of the clinic: one parameter, however many there are.

    PostgreSQL has to look up each by itself. As long as nobody has counted the patients for it, and
    that is so until the first sync is over, it takes a clinic for so small that it would rather
    read all of it.
    """
    if on_postgresql():
        asked = func.unnest(literal(keys, ARRAY(String))).table_valued("key").render_derived()
        ours = _ONE.organization_id == target.organization_id
        found = select(_ONE.id).where(ours, _ONE.cliniko_patient_id == asked.c.key)
        ids = select(found.correlate(asked).scalar_subquery()).select_from(asked).scalar_subquery()
        return Patient.id == any_(func.array(ids, type_=ARRAY(BigInteger)))
    listed = func.json_each(json.dumps(keys)).table_valued("value")
    ours = Patient.organization_id == target.organization_id
    return ours & Patient.cliniko_patient_id.in_(select(listed.c.value))


def known_rows(target: Target, keys: list[str]) -> dict[str, Known]:
    """The rows of these patients by Cliniko's id, with what tells whether a record changes them."""
    rows = db.session.execute(
        select(
            Patient.cliniko_patient_id,
            Patient.content_hash,
            Patient.state,
            Patient.merged_into,
            Patient.archived_at,
            Patient.merged_at,
            Patient.cliniko_updated_at,
            Patient.deleted_at,
            Patient.sync_status,
            Patient.last_sync_id,
        ).where(among(target, keys))
    )
    return {row.cliniko_patient_id: row for row in rows}


def known_content(target: Target, keys: list[str]) -> dict[str, Known]:
    """What we hold of these patients by Cliniko's id: the fields that a record may change."""
    if not keys:
        return {}
    rows = db.session.execute(
        select(
            Patient.cliniko_patient_id,
            Patient.first_name,
            Patient.last_name,
            Patient.preferred_first_name,
            Patient.email,
            Patient.phones,
            Patient.date_of_birth,
        ).where(among(target, keys))
    )
    return {row.cliniko_patient_id: row for row in rows}


def write_records(
    target: Target,
    records: list[PatientRecord],
    known: dict[str, Known],
    seen_at: datetime,
) -> list[FailedRecord]:
    """Insert or update; if the database refuses the lot, one by one, each in its own savepoint."""
    tombstones, living = [], []
    for record in records:
        if record.state is PatientState.DELETED and record.cliniko_patient_id in known:
            tombstones.append(record)
        else:
            living.append(record)
    _mark_deleted(target, tombstones, seen_at)
    if not living:
        return []
    try:
        with db.session.begin_nested():
            for begin in range(0, len(living), ROWS_TOGETHER):
                upsert(rows_of(target, living[begin : begin + ROWS_TOGETHER], seen_at))
        return []
    except (IntegrityError, DataError) as error:
        tried = (_write_one(target, record, seen_at) for record in living)
        failed = [each for each in tried if each is not None]
        if len(failed) == len(living) >= _ALL_REFUSED:
            raise error
        return failed


def mark_seen(target: Target, keys: list[str], seen_at: datetime) -> None:
    """Note that these patients were seen again, unchanged, and could be read."""
    if keys:
        db.session.execute(
            update(Patient)
            .where(among(target, keys))
            .values(
                last_synced=seen_at,
                last_sync_id=target.sync_log_id,
                sync_status=PatientSyncStatus.SUCCESS,
            )
            .execution_options(synchronize_session=False)
        )


def mark_failed(target: Target, keys: list[str]) -> None:
    """The newest version of these patients could not be stored; the older one stays."""
    if keys:
        db.session.execute(
            update(Patient)
            .where(among(target, keys))
            .values(sync_status=PatientSyncStatus.FAILED, last_sync_id=target.sync_log_id)
            .execution_options(synchronize_session=False)
        )


def _write_one(target: Target, record: PatientRecord, seen_at: datetime) -> FailedRecord | None:
    try:
        with db.session.begin_nested():
            upsert(rows_of(target, [record], seen_at))
    except (IntegrityError, DataError):
        return FailedRecord(record.cliniko_patient_id, "record", _REFUSED)
    return None


def as_deleted(deleted_at: Any, moment: datetime, sync_log_id: int) -> dict[str, Any]:
    """What makes a row that of a deleted patient, at this moment and by this sync. It keeps what we
    know of them; Cliniko only says when they went: `deleted_at`, or SQL for it."""
    return {
        "state": PatientState.DELETED,
        "deleted_at": deleted_at,
        "last_synced": moment,
        "last_changed": moment,
        "last_sync_id": sync_log_id,
        "sync_status": PatientSyncStatus.SUCCESS,
    }


def _mark_deleted(target: Target, records: list[PatientRecord], seen_at: datetime) -> None:
    for record in records:
        db.session.execute(
            update(Patient)
            .where(
                Patient.organization_id == target.organization_id,
                Patient.cliniko_patient_id == record.cliniko_patient_id,
            )
            .values(as_deleted(record.deleted_at, seen_at, target.sync_log_id))
            .execution_options(synchronize_session=False)
        )
