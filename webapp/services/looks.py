"""Somebody looks at patients: nothing is shown before it is recorded who looks at what.

Of a search the trail holds how many it found and a fingerprint, never a word of it.
"""

from __future__ import annotations

from webapp.models import ChangeKind, Organization, Patient, SyncLog, User
from webapp.services import audit, changes, patients
from webapp.services.audit_events import Event
from webapp.services.changes import ChangePage, Feed
from webapp.services.patients import PatientFilter, PatientPage


def at_list(
    organization: Organization,
    criteria: PatientFilter,
    *,
    actor: User,
    limit: int,
    offset: int,
    after_id: int | None = None,
) -> PatientPage:
    """What `patients.find` finds, or `patients.after` where an id is given, for somebody to see.
    Raises what `audit.note` does."""
    if after_id is None:
        page = patients.find(organization, criteria, limit=limit, offset=offset)
    else:
        page = patients.after(organization, criteria, after_id, limit=limit)
    audit.note(
        Event.PATIENTS_SEARCHED if criteria.picks else Event.PATIENTS_LISTED,
        actor=actor,
        organization_id=organization.id,
        count=page.total,
        shown=len(page.patients),
        filter=audit.fingerprint(criteria.words),
    )
    return page


def at_patient(organization: Organization, patient_id: int, *, actor: User) -> Patient:
    """What `patients.get` gets, for somebody to see. Raises what that and `audit.note` do."""
    patient = patients.get(organization, patient_id)
    _note_view(patient, actor)
    return patient


def at_survivor(patient: Patient, *, actor: User) -> Patient | None:
    """What `patients.survivor` finds, for somebody to see. Raises what `audit.note` does."""
    survivor = patients.survivor(patient)
    if survivor is not None:
        _note_view(survivor, actor, beside=f"patient {patient.id}")
    return survivor


def at_absorbed(patient: Patient, *, actor: User) -> PatientPage:
    """Whom `patients.absorbed` finds, for somebody to see. Raises what `audit.note` does."""
    page = patients.absorbed(patient)
    for each in page.patients:
        _note_view(each, actor, beside=f"patient {patient.id}")
    return page


def at_changes(
    sync_log: SyncLog, *, actor: User, kind: ChangeKind | None, limit: int, offset: int
) -> ChangePage:
    """What `changes.of_sync` finds, for somebody to see. Raises what `audit.note` does."""
    page = changes.of_sync(sync_log, kind=kind, limit=limit, offset=offset)
    audit.note(
        Event.CHANGES_LISTED,
        actor=actor,
        organization_id=sync_log.organization_id,
        subject=f"sync {sync_log.id}",
        count=page.total,
        shown=len(page.rows),
    )
    return page


def at_feed(organization: Organization, *, actor: User, cursor: int | None, limit: int) -> Feed:
    """What `changes.feed` tells, for somebody's program. Raises what that and `audit.note` do."""
    feed = changes.feed(organization, cursor=cursor, limit=limit)
    if feed.rows:  # a program asks again and again, and is mostly told of nobody
        audit.note(
            Event.CHANGES_LISTED,
            actor=actor,
            organization_id=organization.id,
            shown=len(feed.rows),
        )
    return feed


def _note_view(patient: Patient, actor: User, *, beside: str | None = None) -> None:
    audit.note(
        Event.PATIENT_VIEWED,
        actor=actor,
        organization_id=patient.organization_id,
        subject=f"patient {patient.id}",
        beside=beside,
    )
