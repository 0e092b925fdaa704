"""What is kept has an end, and goes by itself: a little at a time, once a day, by whichever worker
looks first. What a deleted clinic has left goes at once."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from webapp.cliniko.records import PatientRecord, PatientState
from webapp.clock import now
from webapp.extensions import Base, db, overwrite_what_went, transaction
from webapp.models import (
    ApiToken,
    CleanUp,
    ForgottenPatient,
    HeldRemoval,
    Invitation,
    Notice,
    Organization,
    Patient,
    PatientSyncStatus,
    SyncFailure,
    SyncLog,
    WebhookDelivery,
    WebhookEndpoint,
)
from webapp.models.patient import IS_DELETED
from webapp.services import changes, clean_ups, notices, old_syncs, search, sessions
from webapp.services.audit import Result
from webapp.services.clean_ups import Removed

ROWS_AT_ONCE = 500  # so that nobody waits long for a lock
STEP_SECONDS = 2.0  # a worker has other things to do

DAYS_OF_WHAT_HAS_ENDED = 30  # sessions, tokens, links, messages, mails
_DAYS_OF_CLEAN_UPS = 400

# What Cliniko itself still tells of a deleted patient, and what a sync stores of one whom it never
# met: the id, and when they went. Without this row the next sync would make it again.
_NOBODY = PatientRecord("", PatientState.DELETED)
_BARE: dict[str, Any] = dict.fromkeys(
    ("first_name", "last_name", "preferred_first_name", "email", "phone"), ""
) | {
    "phones": [],
    "date_of_birth": None,
    "cliniko_created_at": None,
    "cliniko_updated_at": None,
    "archived_at": None,
    "merged_at": None,
    "merged_into": None,
    "content_hash": _NOBODY.content_hash,
    "search_text": "",
    "search_digits": "",
    "sort_key": search.sort_key("", ""),
}

# What this process has removed and could not note, because the database was lost.
_not_noted: Removed = Counter()
# Whether something has gone that may stand in SQLite's files still, be it that others were at work
# meanwhile.
_must_overwrite = False


@dataclass(frozen=True)
class Rule:
    """What goes, and after how many days. `remove` takes the moment before which something must be
    over, removes some of it in one transaction and says how much; 0 when nothing is left."""

    name: str
    days: int
    remove: Callable[[datetime], int]


def clean_up() -> Removed:
    """Remove all that is over, and say how much of each. Doing it again removes nothing."""
    removed: Removed = Counter()
    try:
        _work([_LEFT_BY_CLINICS, *_rules()], removed, give_up_at=None)
    except BaseException:
        if removed:  # what went before any trouble is told, too
            with transaction():
                clean_ups.record(removed, Result.FAILED)
        raise
    with transaction():
        clean_ups.record(removed)
    overwrite_what_went()
    return removed


def remove_a_little() -> None:
    """What a worker does every few seconds: for a moment remove what a deleted clinic has left, or
    what is due today unless it is done, or another worker is at it."""
    global _must_overwrite
    if _must_overwrite and overwrite_what_went():
        _must_overwrite = False
    give_up_at = time.monotonic() + STEP_SECONDS
    left_by_clinics: Removed = Counter()
    try:
        all_gone = _work([_LEFT_BY_CLINICS], left_by_clinics, give_up_at)
    finally:  # what went before any trouble is to be overwritten, too
        _must_overwrite = _must_overwrite or bool(left_by_clinics)
    if not all_gone:
        return
    today = now().date()
    if clean_ups.take(today):
        completed = False
        try:
            completed = _work(_rules(), _not_noted, give_up_at)
        finally:  # what went before any trouble is told, too, once there is none
            clean_ups.note(today, _not_noted)
            _not_noted.clear()
        if completed:
            clean_ups.complete(today)
            _must_overwrite = True  # also for whoever was forgotten while others worked
        else:
            clean_ups.put_back(today)


def _work(rules: Sequence[Rule], removed: Removed, give_up_at: float | None) -> bool:
    """Whether all is done; False if the time was not enough."""
    for rule in rules:
        before = now() - timedelta(days=rule.days)
        while gone := rule.remove(before):
            removed[rule.name] += gone
            if give_up_at is not None and time.monotonic() >= give_up_at:
                return False
    return True


def _purge_patients(before: datetime) -> int:
    gone_since = func.coalesce(Patient.deleted_at, Patient.last_changed)
    over = (
        IS_DELETED,
        gone_since < before,
        Patient.content_hash != _NOBODY.content_hash,
    )
    with transaction() as session:
        some = session.scalars(select(Patient.id).where(*over).limit(ROWS_AT_ONCE)).all()
        purged = session.execute(
            update(Patient)
            # The state once more: a sync may have met somebody alive meanwhile.
            .where(Patient.id.in_(some), Patient.state == PatientState.DELETED)
            .values(_BARE | {"last_changed": now()})
            .returning(Patient.organization_id, Patient.cliniko_patient_id)
            .execution_options(synchronize_session=False)
        )
        keys: defaultdict[int, list[str]] = defaultdict(list)
        for organization_id, key in purged:
            keys[organization_id].append(key)
        for organization_id in keys:
            _purge_notes(organization_id, keys[organization_id], before)
    return len(some)


def _purge_notes(organization_id: int, keys: Sequence[str], before: datetime) -> None:
    """What was written down beside the rows of these patients. A record that failed since may tell
    of somebody who has come back: it stays, and can be tried again."""
    syncs = select(SyncLog.id).where(SyncLog.organization_id == organization_id)
    theirs = SyncFailure.sync_log_id.in_(syncs), SyncFailure.cliniko_patient_id.in_(keys)
    old = delete(SyncFailure).where(*theirs, SyncFailure.failed_at < before)
    db.session.execute(old.execution_options(synchronize_session=False))
    settled = set(keys) - set(
        db.session.scalars(select(SyncFailure.cliniko_patient_id).where(*theirs))
    )
    db.session.execute(
        update(Patient)
        .where(Patient.organization_id == organization_id, Patient.cliniko_patient_id.in_(settled))
        .values(sync_status=PatientSyncStatus.SUCCESS)
        .execution_options(synchronize_session=False)
    )
    changes.forget_all_but_deletion(organization_id, keys)


def _purge_clinics(_before: datetime) -> int:
    """What deleted clinics have left: everything that tells of a patient, and whom they told."""
    clinics = select(Organization.id).where(Organization.deleted_at.is_not(None))
    syncs = select(SyncLog.id).where(SyncLog.organization_id.in_(clinics))
    endpoints = select(WebhookEndpoint.id).where(WebhookEndpoint.organization_id.in_(clinics))
    return (
        _delete_some(Patient, Patient.organization_id.in_(clinics))
        or _delete_some(HeldRemoval, HeldRemoval.organization_id.in_(clinics))
        or _delete_some(SyncFailure, SyncFailure.sync_log_id.in_(syncs))
        or _delete_some(ForgottenPatient, ForgottenPatient.organization_id.in_(clinics))
        or changes.delete_of_deleted()
        or _delete_some(WebhookDelivery, WebhookDelivery.endpoint_id.in_(endpoints))
        or _delete_some(WebhookEndpoint, WebhookEndpoint.organization_id.in_(clinics))
        or _delete_some(Notice, Notice.organization_id.in_(clinics))
    )


def _over(*moments: InstrumentedAttribute[Any]) -> Callable[[datetime], int]:
    """What removes rows of a table once one of these moments is past."""
    table = moments[0].parent.class_
    return lambda before: _delete_some(table, or_(*(moment < before for moment in moments)))


def _purge_notices(before: datetime) -> int:
    return _delete_some(Notice, notices.is_over(before))


def _purge_failures(before: datetime) -> int:
    return _delete_some(SyncFailure, old_syncs.failure_is_over(before))


def _purge_clean_ups(before: datetime) -> int:
    with transaction() as session:
        old = delete(CleanUp).where(CleanUp.day < before.date())
        return session.connection().execute(old).rowcount


def _delete_some(table: type[Base], over: ColumnElement[bool]) -> int:
    row_id = table.__table__.c.id
    if not (some := db.session.scalars(select(row_id).where(over).limit(ROWS_AT_ONCE)).all()):
        return 0
    # The condition once more: another worker may have been quicker, and SQLite gives ids that were
    # freed to the next rows, of whichever clinic.
    gone = delete(table).where(row_id.in_(some), over)
    with transaction() as session:
        return session.connection().execute(gone).rowcount


_LEFT_BY_CLINICS = Rule("deleted_clinics", 0, _purge_clinics)


def _rules() -> list[Rule]:
    return [
        Rule("deleted_patients", current_app.config["RETENTION_DAYS"], _purge_patients),
        Rule("sessions", DAYS_OF_WHAT_HAS_ENDED, sessions.delete_old),
        Rule("tokens", DAYS_OF_WHAT_HAS_ENDED, _over(ApiToken.expires_at, ApiToken.revoked_at)),
        Rule("invitations", DAYS_OF_WHAT_HAS_ENDED, _over(Invitation.expires_at)),
        Rule("changes", changes.KEPT.days, changes.delete_old),
        Rule("failed_records", old_syncs.KEPT.days, _purge_failures),
        Rule("syncs", old_syncs.KEPT.days, old_syncs.delete_old),
        Rule("webhook_messages", DAYS_OF_WHAT_HAS_ENDED, _over(WebhookDelivery.created_at)),
        Rule("notices", DAYS_OF_WHAT_HAS_ENDED, _purge_notices),
        Rule("clean_ups", _DAYS_OF_CLEAN_UPS, _purge_clean_ups),
    ]
