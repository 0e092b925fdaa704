"""Patients who were forgotten at somebody's wish: every sync leaves them out.

What is kept of one is a digest of Cliniko's id. Its key is made for the clinic and sealed: whoever
has the database alone cannot try all ids, and it stays the same when the encryption keys rotate.
Nobody is forgotten while a sync runs, so an attempt at a sync looks once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence, Set
from dataclasses import replace
from datetime import datetime

import msgspec
from sqlalchemy import delete, func, select, update

from webapp.cliniko.records import PatientRecord
from webapp.errors import NotFound
from webapp.extensions import db, overwrite_what_went, transaction
from webapp.models import (
    ForgottenPatient,
    HeldRemoval,
    Organization,
    Patient,
    SyncFailure,
    SyncLog,
    User,
)
from webapp.services import audit, changes, counts, locks
from webapp.services.audit_events import Event
from webapp.services.sealing import Purpose, seal, unseal
from webapp.sync.start import refuse_while_running
from webapp.sync.upsert import RecordPage


class Forgotten:
    """The forgotten patients of one clinic, who can be told only by asking about an id."""

    def __init__(self, key: bytes, digests: Set[str]) -> None:
        self._key = key
        self._digests = digests

    def __contains__(self, cliniko_patient_id: object) -> bool:
        return bool(self._digests) and _digest(self._key, cliniko_patient_id) in self._digests

    def left_out_of(self, pages: Sequence[RecordPage]) -> tuple[Sequence[RecordPage], set[str]]:
        """The pages without them and without links to them, and the digests of those living ones
        whom they had shown."""
        if not self._digests:
            return pages, set()
        living: set[str] = set()
        return [self._without(page, living) for page in pages], living

    def _without(self, page: RecordPage, living: set[str]) -> RecordPage:
        shown = {each.cliniko_patient_id for each in page.records}
        shown.update(each.key for each in page.failed)
        digests = {key: _digest(self._key, key) for key in shown}
        theirs = {key: each for key, each in digests.items() if each in self._digests}
        records = [each for each in page.records if each.cliniko_patient_id not in theirs]
        failed = [each for each in page.failed if each.key not in theirs]
        gone = {each.cliniko_patient_id for each in page.records if each.is_tombstone}
        gone.update(each.key for each in page.failed if page.deleted)
        living.update(digest for key, digest in theirs.items() if key not in gone)
        return replace(page, records=[*map(self.unlinked, records)], failed=failed)

    def unlinked(self, record: PatientRecord) -> PatientRecord:
        """A record without its link, if that leads to one of them."""
        if record.merged_into is None or record.merged_into not in self:
            return record
        return msgspec.structs.replace(record, merged_into=None)


def of(organization: Organization) -> Forgotten:
    """The forgotten patients of a clinic. Most have none, and then nothing is asked.

    Raises SecretUnreadable without the encryption key that hides who they are: a sync must not
    bring them back.
    """
    if organization.forgetting_key is None:
        return Forgotten(b"", frozenset())
    theirs = ForgottenPatient.organization_id == organization.id
    digests = db.session.scalars(select(ForgottenPatient.digest).where(theirs))
    return Forgotten(_key_of(organization), frozenset(digests))


def count(organization: Organization) -> int:
    """How many patients of a clinic were forgotten."""
    if organization.forgetting_key is None:
        return 0
    theirs = ForgottenPatient.organization_id == organization.id
    return db.session.scalar(select(func.count()).where(theirs)) or 0


def forget(organization: Organization, patient: Patient, *, actor: User) -> None:
    """Remove all that is known of a patient, and see to it that no sync brings them back.

    Raises SyncAlreadyRunning, NotFound if they are gone already, and SecretUnreadable.
    """
    organization_id, patient_id = organization.id, patient.id
    with transaction() as session:
        # As for a decision about held removals: no sync begins meanwhile.
        clinic = locks.clinic(organization_id)
        refuse_while_running(organization_id)
        row = session.get(Patient, patient_id, with_for_update=True)
        if row is None:
            raise NotFound()
        if clinic.forgetting_key is None:
            key = secrets.token_hex(32)
            clinic.forgetting_key = seal(Purpose.FORGOTTEN_PATIENTS, organization_id, key)
        digest = _digest(_key_of(clinic), row.cliniko_patient_id)
        moment = counts.after_all_changes(clinic)
        session.add(
            ForgottenPatient(organization_id=organization_id, digest=digest, forgotten_at=moment)
        )
        _remove(row, moment)
        clinic.patients_changed_at = moment
        audit.record(
            Event.PATIENT_FORGOTTEN,
            actor=actor,
            organization_id=organization_id,
            subject=f"patient {patient_id}",
        )
    overwrite_what_went()


def _remove(patient: Patient, moment: datetime) -> None:
    organization_id, key = patient.organization_id, patient.cliniko_patient_id
    theirs = select(SyncLog.id).where(SyncLog.organization_id == organization_id)
    for statement in (
        delete(SyncFailure).where(
            SyncFailure.sync_log_id.in_(theirs), SyncFailure.cliniko_patient_id == key
        ),
        delete(HeldRemoval).where(
            HeldRemoval.organization_id == organization_id, HeldRemoval.cliniko_patient_id == key
        ),
        update(Patient)
        .where(Patient.organization_id == organization_id, Patient.merged_into == key)
        .values(merged_into=None, last_changed=moment),
        delete(Patient).where(Patient.id == patient.id),
    ):
        db.session.execute(statement.execution_options(synchronize_session=False))
    changes.forget_patient(organization_id, key)


def _key_of(organization: Organization) -> bytes:
    assert organization.forgetting_key is not None
    sealed = organization.forgetting_key
    return unseal(Purpose.FORGOTTEN_PATIENTS, organization.id, sealed).encode()


def _digest(key: bytes, cliniko_patient_id: object) -> str:
    """By the clinic's own key, so the same id of two clinics has two digests."""
    return hmac.new(key, str(cliniko_patient_id).encode(), hashlib.sha256).hexdigest()
