"""Removals that a sync held back because they are too many: who they are, and the decision.

A decision is about the patients that one sync held, and stands with that sync. None is taken while
another sync of the clinic runs, for that one asks Cliniko again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import UpdateBase, delete, func, select, update

from webapp.cliniko.records import PatientState
from webapp.clock import iso
from webapp.errors import RemovalsNotHeld
from webapp.extensions import db, transaction
from webapp.models import (
    ChangeKind,
    HeldRemoval,
    Organization,
    Patient,
    RemovalsDecision,
    SyncLog,
    SyncMetadata,
    User,
)
from webapp.models.held_removal import SAME_PATIENT, still_gone
from webapp.services import audit, counts, locks
from webapp.services.audit_events import Event
from webapp.sync import changes, ending, trail
from webapp.sync.changes import Change, ChangeCounts
from webapp.sync.rows import as_deleted
from webapp.sync.start import refuse_while_running

_EVENTS = {
    RemovalsDecision.CONFIRMED: Event.REMOVALS_CONFIRMED,
    RemovalsDecision.DISMISSED: Event.REMOVALS_DISMISSED,
}
_CONFIRMED_MEANWHILE = (
    "These patients are not held any more: an admin has confirmed meanwhile that they are gone, so "
    "those that were still held were marked deleted. Nothing more was changed."
)


@dataclass(frozen=True)
class Batch:
    """The patients held by one sync that are still gone. Until `kept_at` they wait for somebody."""

    sync_log_id: int
    kept_at: datetime | None
    patients: int


@dataclass(frozen=True)
class HeldPage:
    """Some of the patients that one sync held, and how many they are in all."""

    rows: list[tuple[Patient, HeldRemoval]]
    total: int


def batches(organization_id: int) -> list[Batch]:
    """Whose removal is held, by the sync that held them, newest first. Only the newest can wait."""
    query = (
        select(HeldRemoval.sync_log_id, func.max(HeldRemoval.kept_at), func.count())
        .join(Patient, still_gone())
        .where(HeldRemoval.organization_id == organization_id)
        .group_by(HeldRemoval.sync_log_id)
        .order_by(HeldRemoval.sync_log_id.desc())
    )
    return [Batch(*row) for row in db.session.execute(query)]


def look(sync_log: SyncLog, *, actor: User, limit: int, offset: int) -> HeldPage:
    """What `find` finds, for somebody to look at, which is recorded."""
    page = find(sync_log, limit=limit, offset=offset)
    audit.note(
        Event.REMOVALS_LISTED,
        actor=actor,
        organization_id=sync_log.organization_id,
        subject=f"sync {sync_log.id}",
        count=page.total,
        shown=len(page.rows),
    )
    return page


def find(sync_log: SyncLog, *, limit: int, offset: int = 0) -> HeldPage:
    """The patients whose removal this sync held and who are still gone, by name."""
    held = (
        select(Patient, HeldRemoval)
        .join(HeldRemoval, still_gone())
        .where(HeldRemoval.sync_log_id == sync_log.id)
    )
    total = db.session.scalar(select(func.count()).select_from(held.subquery())) or 0
    rows = db.session.execute(
        held.order_by(Patient.sort_key, Patient.id).limit(limit).offset(offset)
    )
    return HeldPage([(patient, row) for patient, row in rows], total)


def confirm(organization: Organization, sync_log: SyncLog, *, actor: User) -> int:
    """Mark deleted whom this sync held, also those that were kept until now; says how many.

    Patients that any sync has seen since stay as they are. Raises SyncAlreadyRunning, and
    RemovalsNotHeld if a later sync has made another list; a second press marks nobody.
    """
    return _decide(organization.id, sync_log.id, RemovalsDecision.CONFIRMED, actor)


def dismiss(organization: Organization, sync_log: SyncLog, *, actor: User) -> int:
    """Keep whom this sync held: no sync marks them or asks about them again until Cliniko has
    listed them once more. Says how many.

    Raises SyncAlreadyRunning, and RemovalsNotHeld if they were marked meanwhile or a later sync
    has made another list.
    """
    return _decide(organization.id, sync_log.id, RemovalsDecision.DISMISSED, actor)


def _decide(organization_id: int, sync_log_id: int, decision: RemovalsDecision, actor: User) -> int:
    with transaction() as session:
        # A start locks the same row: no sync begins meanwhile, and a second press waits.
        organization = locks.clinic(organization_id)
        refuse_while_running(organization_id)
        sync_log = session.get_one(SyncLog, sync_log_id)
        if sync_log.progress.get("removals_decision") == decision:
            return 0
        moment = counts.after_all_changes(organization)
        if decision is RemovalsDecision.CONFIRMED:
            patients = _mark(organization, sync_log, moment)
        else:
            patients = _keep(sync_log_id, moment)
        if patients is None:
            raise _not_held(sync_log)
        decided: SyncMetadata = {
            "removals_decision": str(decision),
            "removals_decided_at": iso(moment),
        }
        if decision is RemovalsDecision.CONFIRMED:  # fewer than were held, if some were seen since
            decided["removals_marked"] = patients
        sync_log.progress = {**sync_log.progress, **decided}
        organization.patients_changed_at = moment
        event = _EVENTS[decision]
        trail.record(event, sync_log_id, organization_id, actor=actor, count=patients)
    return patients


def _not_held(sync_log: SyncLog) -> RemovalsNotHeld:
    clinic = sync_log.organization_id
    if sync_log.progress.get("removals_decision") == RemovalsDecision.CONFIRMED:
        return RemovalsNotHeld(_CONFIRMED_MEANWHILE, organization_id=clinic)
    return RemovalsNotHeld(organization_id=clinic)


def _mark(organization: Organization, sync_log: SyncLog, moment: datetime) -> int | None:
    """How many were marked; None if none was listed."""
    organization_id, sync_log_id = organization.id, sync_log.id
    cursor = organization.changes_recorded  # the clinic is locked: what is noted now follows it
    listed = HeldRemoval.sync_log_id == sync_log_id
    gone = select(HeldRemoval.cliniko_patient_id).where(listed)
    deleted_at = select(HeldRemoval.deleted_at).where(SAME_PATIENT).correlate(Patient)
    marked = db.session.connection().scalars(
        update(Patient)
        .where(
            Patient.organization_id == organization_id,
            Patient.cliniko_patient_id.in_(gone),
            Patient.state != PatientState.DELETED,
            Patient.last_sync_id <= sync_log_id,
        )
        .values(as_deleted(deleted_at.scalar_subquery(), moment, sync_log_id))
        .returning(Patient.cliniko_patient_id)
    )
    changed = [Change(key, ChangeKind.DELETED) for key in marked]
    changes.note(organization_id, sync_log_id, changed, at=moment)
    marks = ChangeCounts.of(changed)
    counts = ChangeCounts.from_json(sync_log.progress.get("changes")).plus(marks)
    sync_log.progress = {**sync_log.progress, "changes": counts.to_json()}
    if changed:
        ending.tell_of_changes(sync_log, marks.to_json(), cursor=cursor)
    return len(changed) if _changed(delete(HeldRemoval).where(listed)) else None


def _keep(sync_log_id: int, moment: datetime) -> int | None:
    """How many are kept; None if none waited."""
    waiting = (HeldRemoval.sync_log_id == sync_log_id, HeldRemoval.kept_at.is_(None))
    return _changed(update(HeldRemoval).where(*waiting).values(kept_at=moment)) or None


def _changed(statement: UpdateBase) -> int:
    """Do it, and say how many rows it met."""
    return db.session.connection().execute(statement).rowcount
