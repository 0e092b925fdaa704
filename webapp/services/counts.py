"""How many patients of each state we hold: as the newest sync has certified, or counted, and while
a sync runs only now and then.

Open dashboards ask every two seconds; a hundred thousand rows are not counted each time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import current_app
from sqlalchemy import ColumnElement, TextClause, bindparam, func, select, true

from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.extensions import db
from webapp.models import Organization, Patient, SyncLog, SyncMetadata, SyncStatus
from webapp.models.patient import FITS_INTO_THE_LIST, TOO_LONG_FOR_THE_LIST

Counts = dict[PatientState, int]
_Version = tuple[int, str, int, int, SyncMetadata, datetime | None]

# While a sync runs, each of its pages changes the counts. So they are used again for REST times as
# long as counting took, which is a second for ten thousand patients, and for LONGEST_REST at most.
# While another thread counts, they are good for LONGEST_REST more, so that nobody waits for it.
REST = 400
LONGEST_REST = 60.0  # seconds

_COUNTING = threading.Lock()  # the threads of a process would all count the same


@dataclass(frozen=True)
class _Known:
    version: _Version
    counts: Counts
    good_until: float  # by the monotonic clock, while a sync runs


# Each has an index that holds it whole on PostgreSQL, see the model.
_PARTS: dict[str, tuple[ColumnElement[bool] | TextClause, ...]] = {
    "postgresql": (FITS_INTO_THE_LIST, TOO_LONG_FOR_THE_LIST),
    "sqlite": (true(),),
}

_NEWEST = (
    select(SyncLog)
    .where(SyncLog.organization_id == bindparam("organization_id"))
    .order_by(SyncLog.id.desc())
    .limit(1)
)


def by_state(organization: Organization) -> Counts:
    """How many patients a clinic has in each state; every state is there."""
    latest = db.session.scalar(_NEWEST, {"organization_id": organization.id})
    return by_state_of([organization], {organization.id: latest} if latest else {})[organization.id]


def by_state_of(
    organizations: Sequence[Organization], latest: Mapping[int, SyncLog]
) -> dict[int, Counts]:
    """The same for many clinics, by id; `latest` holds the newest sync of each that had one."""
    known: dict[int, _Known] = current_app.extensions.setdefault("counts", {})
    versions = {each.id: _version(each, latest.get(each.id)) for each in organizations}
    if stale := _stale(known, versions):
        # While a sync runs those from a moment ago will do, if somebody else is counting.
        wait = not all(_will_do(known.get(each), versions[each], LONGEST_REST) for each in stale)
        if _COUNTING.acquire(blocking=wait):
            try:
                stale = _stale(known, versions)  # unless somebody else has counted them meanwhile
                uncounted = [each for each in organizations if each.id in stale]
                told = {each.id: _certified(each, latest.get(each.id)) for each in uncounted}
                known.update(_anew(told, versions))
            finally:
                _COUNTING.release()
    return {each: dict(known[each].counts) for each in versions}


def _anew(told: Mapping[int, Counts | None], versions: Mapping[int, _Version]) -> dict[int, _Known]:
    began = time.monotonic()
    counted = {each: counts for each, counts in told.items() if counts is not None}
    if untold := [each for each in told if each not in counted]:
        counted |= _count(untold)
    ended = time.monotonic()
    good_until = ended + min(REST * (ended - began), LONGEST_REST)
    return {each: _Known(versions[each], counts, good_until) for each, counts in counted.items()}


def _certified(organization: Organization, latest: SyncLog | None) -> Counts | None:
    """What the newest sync counted as the last thing it did, for its certificate; None if it has
    none, or patients were changed by something else since."""
    certificate = latest.progress.get("certificate") if latest else None
    if latest is None or latest.completed_at is None or not certificate:
        return None
    changed = organization.patients_changed_at
    if changed is not None and changed >= latest.completed_at:
        return None
    return {state: certificate["stored"][state] for state in PatientState}


def after_all_changes(organization: Organization) -> datetime:
    """When something else than a sync changes patients: now, but by whichever clock not before the
    newest sync has ended, or its certificate would still be taken for the count; and later than the
    last such change, or whoever asks again would be told that nothing has changed."""
    ends = select(func.max(SyncLog.completed_at)).where(SyncLog.organization_id == organization.id)
    moment, before = now(), organization.patients_changed_at
    moment = max(moment, db.session.scalar(ends) or moment)
    return moment if before is None else max(moment, before + timedelta(microseconds=1))


def _stale(known: Mapping[int, _Known], versions: Mapping[int, _Version]) -> list[int]:
    return [each for each, version in versions.items() if _is_stale(known.get(each), version)]


def _is_stale(known: _Known | None, version: _Version) -> bool:
    if known is None:
        return True
    return known.version != version and not _will_do(known, version)


def _will_do(known: _Known | None, version: _Version, longer: float = 0.0) -> bool:
    """Whether the counts are recent enough for a clinic whose sync runs."""
    if known is None or version[1] != SyncStatus.RUNNING:
        return False
    return time.monotonic() < known.good_until + longer


def _version(organization: Organization, latest: SyncLog | None) -> _Version:
    """Patients change only in the transactions of their clinic's newest sync, each of which writes
    its row too, and by what people decide about them."""
    changed = organization.patients_changed_at
    if latest is None:
        return (0, "", 0, 0, {}, changed)
    counters = latest.records_success, latest.records_failed
    return (latest.id, latest.status, *counters, latest.progress, changed)


def _count(organization_ids: list[int]) -> dict[int, Counts]:
    counted = {each: dict.fromkeys(PatientState, 0) for each in organization_ids}
    for part in _PARTS[db.engine.dialect.name]:
        rows = db.session.execute(
            select(Patient.organization_id, Patient.state, func.count())
            .where(Patient.organization_id.in_(organization_ids), part)
            .group_by(Patient.organization_id, Patient.state)
        )
        for organization_id, state, count in rows:
            counted[organization_id][PatientState(state)] += count
    return counted
