"""The rows of patients whose removal is held back. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, insert, or_, select

from webapp.cliniko.records import PatientRecord, PatientState
from webapp.extensions import db
from webapp.models import HeldRemoval, Patient, PatientSyncStatus
from webapp.models.held_removal import SAME_PATIENT, still_gone
from webapp.sync.target import Target


def _listed_again() -> ColumnElement[bool]:
    """Whether Cliniko has listed the patient of a row since it was held. One who waits and whose
    newest version could not be stored goes on waiting."""
    return (
        select(Patient.id)
        .where(
            SAME_PATIENT,
            Patient.last_sync_id > HeldRemoval.sync_log_id,
            or_(
                HeldRemoval.kept_at.is_not(None),
                Patient.sync_status == PatientSyncStatus.SUCCESS,
            ),
        )
        .exists()
    )


def keys(organization_id: int) -> set[str]:
    """Cliniko's ids of all patients whose removal is held, whatever was decided."""
    theirs = HeldRemoval.organization_id == organization_id
    return set(db.session.scalars(select(HeldRemoval.cliniko_patient_id).where(theirs)))


def kept_keys(organization_id: int) -> set[str]:
    """Cliniko's ids of the kept patients, but for those whom Cliniko has listed since: if one of
    them vanishes again, the decision was not about that."""
    query = select(HeldRemoval.cliniko_patient_id).where(
        HeldRemoval.organization_id == organization_id,
        HeldRemoval.kept_at.is_not(None),
        ~_listed_again(),
    )
    return set(db.session.scalars(query))


def waiting_records(organization_id: int) -> dict[str, PatientRecord]:
    """The patients who wait for a decision, by Cliniko's id, as Cliniko would tell of them."""
    query = (
        select(HeldRemoval)
        .join(Patient, still_gone())
        .where(HeldRemoval.organization_id == organization_id, HeldRemoval.kept_at.is_(None))
    )
    return {
        row.cliniko_patient_id: PatientRecord(
            row.cliniko_patient_id, PatientState.DELETED, deleted_at=row.deleted_at
        )
        for row in db.session.scalars(query)
    }


def forget_listed_again(target: Target) -> None:
    """Whoever Cliniko has listed again is a patient like any other."""
    db.session.execute(
        delete(HeldRemoval)
        .where(HeldRemoval.organization_id == target.organization_id, _listed_again())
        .execution_options(synchronize_session=False)
    )


def replace_waiting(target: Target, found: Sequence[PatientRecord], held_at: datetime) -> None:
    """Put those that a sync found in place of those that wait for a decision; the kept ones stay.

    Who was held before is held since then.
    """
    waiting = (
        HeldRemoval.organization_id == target.organization_id,
        HeldRemoval.kept_at.is_(None),
    )
    before = select(HeldRemoval.cliniko_patient_id, HeldRemoval.held_since).where(*waiting)
    since = {row.cliniko_patient_id: row.held_since for row in db.session.execute(before)}
    db.session.execute(
        delete(HeldRemoval).where(*waiting).execution_options(synchronize_session=False)
    )
    rows = [
        {
            "organization_id": target.organization_id,
            "sync_log_id": target.sync_log_id,
            "cliniko_patient_id": record.cliniko_patient_id,
            "deleted_at": record.deleted_at,
            "held_since": since.get(record.cliniko_patient_id, held_at),
        }
        for record in found
    ]
    if rows:
        db.session.execute(insert(HeldRemoval), rows)


def count_kept(organization_id: int) -> int:
    """How many are kept that Cliniko does not list."""
    query = select(func.count()).where(
        HeldRemoval.organization_id == organization_id, HeldRemoval.kept_at.is_not(None)
    )
    return db.session.scalar(query) or 0
