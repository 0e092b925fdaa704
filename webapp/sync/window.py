"""How often a clinic may be asked to sync: one accepted start of a kind in five minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import Select, select

from webapp.clock import MAY_DIFFER, iso, now, whole_second, zone_name
from webapp.errors import ErrorCode, RateLimited
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin, SyncStatus
from webapp.services.schedules import clock_of

START_WINDOW = timedelta(minutes=5)
LIMITED_ORIGINS = (SyncOrigin.API, SyncOrigin.DASHBOARD)

# However they ended, if workers were told: starting and cancelling in turns would keep them from
# the syncs of others.
MOST_STARTS = 10


@dataclass(frozen=True)
class StartWindow:
    """The limit of one accepted start in five minutes, as one clinic stands to it now."""

    remaining: int
    resets_at: datetime
    limit: int = 1


def start_window(organization: Organization, operation_type: OperationType) -> StartWindow:
    """How many syncs of this type may be started now, and when the limit resets."""
    blocking = _blocking(organization, operation_type)
    if blocking is None:
        return StartWindow(1, now() + START_WINDOW)
    return StartWindow(0, blocking[0].started_at + START_WINDOW)


def refuse_early(
    organization: Organization, operation_type: OperationType, details: dict[str, object]
) -> None:
    """Raise RateLimited if an earlier start blocks this one, or the clinic has used up MOST_STARTS.
    Only the second applies to retries of failed records."""
    blocking = _blocking(organization, operation_type)
    if blocking is None:
        return
    log, why = blocking
    exactly = log.started_at + START_WINDOW
    retry_at = whole_second(exactly.timestamp())
    seconds = (exactly - now()).total_seconds()
    # The time alone, for the words may stand on a page until it has come.
    shown = retry_at.astimezone(clock_of(organization))
    raise RateLimited(
        f"{why} The next sync can be started at {shown:%H:%M:%S} {zone_name(shown)}.",
        retry_after=ceil(seconds),
        retry_at=iso(retry_at),
        **details,
    )


def _blocking(
    organization: Organization, operation_type: OperationType
) -> tuple[SyncLog, str] | None:
    """The start that holds such a one up for the longest, and why."""
    retry = operation_type is OperationType.RETRY_FAILED
    last = None if retry else _last_counted(organization, operation_type)
    first = _many_ago(organization)
    if first is not None and (last is None or first.started_at > last.started_at):
        return first, f"Syncs of this clinic were started {MOST_STARTS} times within five minutes."
    return None if last is None else (last, "This clinic was synced less than five minutes ago.")


def _last_counted(organization: Organization, operation_type: OperationType) -> SyncLog | None:
    """The start that uses up the clinic's window; a failed sync or a new key gives it back.

    A sync that reads all patients brings what any other would, so it holds each of them up; itself
    it is held up by none but its like, as its callers were promised.
    """
    holding_up = [operation_type, OperationType.FULL_PATIENTS]
    return db.session.scalar(
        _starts(organization)
        .where(SyncLog.operation_type.in_(holding_up), SyncLog.status != SyncStatus.FAILED)
        .limit(1)
    )


def _many_ago(organization: Organization) -> SyncLog | None:
    """The first of as many starts as a window may have; of those that failed for want of a queue
    or a worker none counts."""
    told = SyncLog.error_code.is_distinct_from(str(ErrorCode.QUEUE_UNAVAILABLE))
    return db.session.scalar(_starts(organization).where(told).offset(MOST_STARTS - 1).limit(1))


def _starts(organization: Organization) -> Select[SyncLog]:
    """Those of the last five minutes that people and programs asked for, the newest first. One from
    while a clock ran ahead would hold them up for as long as that was."""
    latest = now() + MAY_DIFFER
    since, new_key_at = now() - START_WINDOW, organization.credentials_saved_at
    if new_key_at is not None and new_key_at <= latest:
        since = max(since, new_key_at)
    return (
        select(SyncLog)
        .where(
            SyncLog.organization_id == organization.id,
            SyncLog.origin.in_(LIMITED_ORIGINS),
            SyncLog.started_at > since,
            SyncLog.started_at <= latest,
        )
        .order_by(SyncLog.id.desc())
    )
