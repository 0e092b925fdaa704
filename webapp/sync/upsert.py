"""Storing a page of patient records: what is new, what changed, what is only seen again.

Everything here runs inside the caller's transaction, after the caller has renewed its lease there,
so no two workers store pages of the same sync at the same time. Counters rest on which sync saw a
patient last, never on a sum in memory: a page that is stored twice counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from webapp.cliniko.errors import MalformedRecord
from webapp.cliniko.records import PatientRecord, PatientState, content_hash
from webapp.extensions import db
from webapp.models import Patient, PatientSyncStatus, SyncFailure
from webapp.services import search

_REFUSED = "the database refused a value of this record"


@dataclass(frozen=True)
class Target:
    """Where a page belongs: the clinic, and the sync that read it."""

    organization_id: int
    sync_log_id: int
    shard: str | None


@dataclass(frozen=True)
class Stored:
    """What storing a page has changed: to the counters of the sync, and of the patients."""

    success: int = 0
    failed: int = 0
    rewritten: int = 0


@dataclass(frozen=True)
class Refusal:
    """A record that cannot be stored, and why; its id or, without one, its place."""

    key: str
    field: str
    reason: str

    @classmethod
    def of(cls, error: MalformedRecord, page: int, place: int) -> Refusal:
        """What is kept of a malformed record: never its content."""
        key = error.cliniko_patient_id or f"page {page}, record {place}"
        return cls(key[:40], error.field[:40], error.reason[:200])


def store_page(
    target: Target,
    records: Sequence[PatientRecord],
    refusals: Sequence[Refusal],
    *,
    page: int,
    seen_at: datetime,
) -> Stored:
    """Store the records of a page and note those that were refused.

    A record that the database refuses is noted too; the others are kept. Raises IntegrityError or
    DataError if it refuses every record, for then the fault is not the records'.
    """
    newest = _newest_of_each(records)
    known = _known(target, [*newest, *(refusal.key for refusal in refusals)])
    failed_before = _failed_before(target)

    seen_again, rewritten = [], []
    for record in newest.values():
        row = known.get(record.cliniko_patient_id)
        if row is not None and not _supersedes(record, row, target):
            seen_again.append(record.cliniko_patient_id)
        else:
            rewritten.append(record)
    refused_here = _write(target, rewritten, known, seen_at)
    _confirm(target, seen_again, seen_at)

    refused = {refusal.key: refusal for refusal in (*refusals, *refused_here)}
    stored = [key for key in newest if key not in refused]
    new_failed = [refusal for key, refusal in refused.items() if key not in failed_before]
    _note_failures(target, new_failed, refused, page, seen_at)
    healed = [key for key in stored if key in failed_before]
    _forget_failures(target, healed)

    counted = {key for key, row in known.items() if row.last_sync_id == target.sync_log_id}
    uncounted = sum(key not in counted or key in failed_before for key in stored)
    taken_back = sum(refusal.key in counted for refusal in new_failed)
    return Stored(
        success=uncounted - taken_back,
        failed=len(new_failed) - len(healed),
        rewritten=len(rewritten) - len(refused_here),
    )


def _newest_of_each(records: Sequence[PatientRecord]) -> dict[str, PatientRecord]:
    """A patient may stand on a page twice; the newest version wins, the later one among equals."""
    newest: dict[str, PatientRecord] = {}
    for record in records:
        other = newest.get(record.cliniko_patient_id)
        if other is None or not _is_older(record.updated_at, other.updated_at):
            newest[record.cliniko_patient_id] = record
    return newest


def _known(target: Target, keys: list[str]) -> dict[str, Row[*tuple[Any, ...]]]:
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


def _supersedes(record: PatientRecord, row: Row[*tuple[Any, ...]], target: Target) -> bool:
    """Whether the record says something that the row does not, and is not older than it."""
    seen_in_this_sync: bool = row.last_sync_id == target.sync_log_id
    if record.state is PatientState.DELETED:
        if row.state == PatientState.DELETED:
            return False
        # Within one sync the later of "deleted" and "changed" holds, in whatever order they come.
        return not (seen_in_this_sync and _is_older(record.deleted_at, row.cliniko_updated_at))
    if row.state == PatientState.DELETED:
        # A patient that an earlier sync took for deleted and Cliniko lists again is there.
        return not (seen_in_this_sync and not _is_older(row.deleted_at, record.updated_at))
    if _is_older(record.updated_at, row.cliniko_updated_at):
        return False
    return bool(
        row.content_hash != content_hash(record)
        or row.state != record.state
        or row.merged_into != record.merged_into
        or row.cliniko_updated_at != record.updated_at
        or row.sync_status != PatientSyncStatus.SUCCESS
    )


def _is_older(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one < other


def _write(
    target: Target,
    records: list[PatientRecord],
    known: dict[str, Row[*tuple[Any, ...]]],
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


def _confirm(target: Target, keys: list[str], seen_at: datetime) -> None:
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


def _failed_before(target: Target) -> set[str]:
    return set(
        db.session.scalars(
            select(SyncFailure.cliniko_patient_id).where(
                SyncFailure.sync_log_id == target.sync_log_id
            )
        )
    )


def _note_failures(
    target: Target,
    new: list[Refusal],
    refused: dict[str, Refusal],
    page: int,
    seen_at: datetime,
) -> None:
    if refused:
        db.session.execute(
            update(Patient)
            .where(
                Patient.organization_id == target.organization_id,
                Patient.cliniko_patient_id.in_(list(refused)),
            )
            .values(sync_status=PatientSyncStatus.FAILED, last_sync_id=target.sync_log_id)
            .execution_options(synchronize_session=False)
        )
    if new:
        db.session.execute(
            insert(SyncFailure),
            [
                {
                    "sync_log_id": target.sync_log_id,
                    "cliniko_patient_id": refusal.key,
                    "page": page,
                    "field": refusal.field,
                    "reason": refusal.reason,
                    "failed_at": seen_at,
                }
                for refusal in new
            ],
        )


def _forget_failures(target: Target, healed: list[str]) -> None:
    if healed:
        db.session.execute(
            delete(SyncFailure)
            .where(
                SyncFailure.sync_log_id == target.sync_log_id,
                SyncFailure.cliniko_patient_id.in_(healed),
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
        "content_hash": content_hash(record),
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
