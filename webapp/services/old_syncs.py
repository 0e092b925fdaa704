"""Deleting old syncs that nothing needs any more, and which failed records nothing needs."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.orm import aliased

from webapp.extensions import db, insert_into, transaction
from webapp.models import (
    DeletedSyncs,
    HeldRemoval,
    OperationType,
    PatientChange,
    SyncFailure,
    SyncLog,
    SyncStatus,
)
from webapp.services import changes

KEPT = changes.KEPT
_AT_ONCE = 500  # rows that one transaction deletes at most

_later = aliased(SyncLog)
_follows = (_later.organization_id == SyncLog.organization_id) & (_later.id > SyncLog.id)
_completed_after_it = exists().where(
    _follows,
    _later.operation_type == SyncLog.operation_type,
    _later.status == SyncStatus.COMPLETED,
)
# So the newest of each clinic stays, and the last that completed of each type.
_HAS_SUCCESSOR = exists().where(_follows) & (
    (SyncLog.status != SyncStatus.COMPLETED) | _completed_after_it
)
# A record that still fails has failed again in that later sync, so the older note is not needed
# (sync/failures.py).
_HAS_FULL_SUCCESSOR = exists().where(
    _follows,
    _later.operation_type == OperationType.FULL_PATIENTS,
    _later.status == SyncStatus.COMPLETED,
)
_IS_NEEDED = (
    exists().where(SyncFailure.sync_log_id == SyncLog.id)
    | exists().where(HeldRemoval.sync_log_id == SyncLog.id)
    | exists().where(PatientChange.sync_log_id == SyncLog.id)
)


def delete_old(before: datetime) -> int:
    """Delete some of the syncs that ended before a moment, of all clinics, in one transaction that
    also counts how they ended; says how many, 0 when none is left.

    What stays: of each clinic the newest, and of each type the last that completed; and each sync
    with records that failed, with held removals, or with changes, as long as those are kept.
    """
    old = (SyncLog.completed_at < before, _HAS_SUCCESSOR, ~_IS_NEEDED)
    some = db.session.scalars(select(SyncLog.id).where(*old).limit(_AT_ONCE)).all()
    if not some:
        return 0
    with transaction() as session:
        gone = session.connection().execute(
            delete(SyncLog)
            .where(SyncLog.id.in_(some), *old)  # as they are now
            .returning(SyncLog.status, SyncLog.error_code)
        )
        ends = Counter((status, code or "") for status, code in gone)
        if ends:
            session.connection().execute(_counted(ends))
    return len(some)


def failure_is_over(before: datetime) -> ColumnElement[bool]:
    """Whether a record failed in a sync that ended before a moment, and is not needed any more: all
    that has failed in the last full sync of a clinic that completed, or since, is."""
    old = select(SyncLog.id).where(SyncLog.completed_at < before, _HAS_FULL_SUCCESSOR)
    return SyncFailure.sync_log_id.in_(old)


def _counted(ends: Counter[tuple[str, str]]) -> Any:
    insert = insert_into(DeletedSyncs).values(
        [
            {"status": status, "error_code": code, "count": count}
            for (status, code), count in sorted(ends.items())
        ]
    )
    both = {"count": DeletedSyncs.count + insert.excluded.count}
    return insert.on_conflict_do_update(index_elements=["status", "error_code"], set_=both)
