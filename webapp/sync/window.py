"""How often a clinic may be asked to sync: one accepted start of a kind in five minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import select

from webapp.clock import iso, now, whole_second
from webapp.errors import RateLimited
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin, SyncStatus

START_WINDOW = timedelta(minutes=5)
LIMITED_ORIGINS = (SyncOrigin.API, SyncOrigin.DASHBOARD)

# However they ended: starting and cancelling in turns would keep workers from the syncs of others.
MOST_STARTS = 10


@dataclass(frozen=True)
class StartWindow:
    """The limit of one accepted start in five minutes, as one clinic stands to it now."""

    remaining: int
    resets_at: datetime
    limit: int = 1


def start_window(organization: Organization, operation_type: OperationType) -> StartWindow:
    """How the clinic stands to its limit of such starts now."""
    blocking = _last_counted(organization, operation_type)
    if blocking is None:
        return StartWindow(1, now() + START_WINDOW)
    return StartWindow(0, blocking.started_at + START_WINDOW)


def refuse_early(
    organization: Organization, operation_type: OperationType, details: dict[str, object]
) -> None:
    """Raise RateLimited while an earlier start holds such a one up."""
    blocking = _last_counted(organization, operation_type)
    if blocking is None:
        return
    until = blocking.started_at + START_WINDOW
    retry_at = whole_second(until.timestamp())
    raise RateLimited(
        "This clinic was synced less than five minutes ago. The next sync can be started at "
        f"{retry_at:%H:%M:%S} UTC.",
        retry_after=ceil((until - now()).total_seconds()),
        retry_at=iso(retry_at),
        **details,
    )


def _last_counted(organization: Organization, operation_type: OperationType) -> SyncLog | None:
    """The start that uses up the clinic's window; a failed sync or a new key gives it back.

    A sync that reads all patients brings what any other would, so it holds each of them up; itself
    it is held up by none but its like, as its callers were promised.
    """
    holding_up = [operation_type, OperationType.FULL_PATIENTS]
    since = now() - START_WINDOW
    if organization.credentials_saved_at is not None:
        since = max(since, organization.credentials_saved_at)
    starts = db.session.scalars(
        select(SyncLog)
        .where(
            SyncLog.organization_id == organization.id,
            SyncLog.origin.in_(LIMITED_ORIGINS),
            SyncLog.operation_type.in_(holding_up),
            SyncLog.started_at > since,
        )
        .order_by(SyncLog.id.desc())
        .limit(MOST_STARTS)
    ).all()
    held_up_by = next((log for log in starts if log.status != SyncStatus.FAILED), None)
    return starts[-1] if held_up_by is None and len(starts) == MOST_STARTS else held_up_by
