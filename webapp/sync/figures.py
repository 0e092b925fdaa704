"""Figures about all syncs of all clinics, for whoever watches over the system."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from webapp.clock import MAY_DIFFER, now
from webapp.extensions import db
from webapp.models import IS_OPEN, DeletedSyncs, Organization, SyncLog, SyncStatus, newest_in_step
from webapp.sync.lease import LEASE

# Of each clinic, found by the index, however many there were.
_ITS_NEWEST = newest_in_step(SyncLog.id, Organization.id).correlate(Organization)
_NEWEST = select(_ITS_NEWEST.scalar_subquery()).where(IS_OPEN)


@dataclass(frozen=True)
class Figures:
    """`outcomes` counts syncs by status and error code; `last_success` goes by clinic: nobody is to
    be alarmed about one that is disabled or was deleted."""

    outcomes: dict[tuple[str, str], int]
    oldest_beat_seconds: float | None
    last_success: dict[int, datetime]
    last_seconds: dict[int, float]


def read() -> Figures:
    """The figures of this moment, in three queries."""
    moment = now()
    kept = select(SyncLog.status, SyncLog.error_code, func.count()).group_by(
        SyncLog.status, SyncLog.error_code
    )
    # In one question: of two, one might be from before some were deleted and one from after.
    deleted = select(DeletedSyncs.status, DeletedSyncs.error_code, DeletedSyncs.count)
    outcomes: Counter[tuple[str, str]] = Counter()
    for status, code, count in db.session.execute(kept.union_all(deleted)):
        outcomes[status, code or ""] += count
    expires = db.session.scalar(
        select(func.min(SyncLog.lease_expires_at)).where(
            SyncLog.status == SyncStatus.RUNNING,
            SyncLog.worker.is_not(None),  # one that was handed over beats when it is taken up
        )
    )
    newest = select(SyncLog).where(SyncLog.id.in_(_NEWEST))
    completed = list(db.session.scalars(newest, {"latest": moment + MAY_DIFFER}))
    return Figures(
        outcomes=outcomes,
        oldest_beat_seconds=None if expires is None else (moment - expires + LEASE).total_seconds(),
        last_success={
            log.organization_id: log.completed_at for log in completed if log.completed_at
        },
        last_seconds={log.organization_id: log.duration_seconds or 0.0 for log in completed},
    )
