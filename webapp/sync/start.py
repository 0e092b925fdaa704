"""Starting and cancelling a sync: what the button, the API and the command line call."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from webapp.clock import iso, now
from webapp.errors import (
    ClinikoNotConfigured,
    ErrorCode,
    QueueUnavailable,
    RateLimited,
    SyncAlreadyRunning,
    SyncNotRunning,
)
from webapp.extensions import db, transaction
from webapp.models import (
    OperationType,
    Organization,
    SyncLog,
    SyncOrigin,
    SyncStatus,
    User,
)
from webapp.queue import enqueue_sync
from webapp.sync import history
from webapp.sync.progress import Progress
from webapp.sync.recovery import close, closing_for
from webapp.sync.watermark import needs_full_match

START_WINDOW = timedelta(minutes=5)
KEY_LIFETIME = timedelta(hours=24)
_LIMITED_ORIGINS = (SyncOrigin.API, SyncOrigin.DASHBOARD)


@dataclass(frozen=True)
class StartWindow:
    """The limit of one accepted start in five minutes, as one clinic stands to it now."""

    remaining: int
    resets_at: datetime
    limit: int = 1


def start_sync(
    organization: Organization,
    operation_type: OperationType,
    *,
    actor: User | None,
    origin: SyncOrigin,
) -> SyncLog:
    """Start a sync and wake a worker. The row is committed before anybody is told of it.

    Where a full match is due, a sync of what changed becomes one: its `operation_type` tells.
    Raises ClinikoNotConfigured, SyncAlreadyRunning (details: the running sync), RateLimited
    (details: `retry_at`) or QueueUnavailable; then nothing is left running.
    """
    log, _ = start_once(
        organization, operation_type, actor=actor, origin=origin, idempotency_key=None
    )
    return log


def start_once(
    organization: Organization,
    operation_type: OperationType,
    *,
    actor: User | None,
    origin: SyncOrigin,
    idempotency_key: str | None,
) -> tuple[SyncLog, bool]:
    """The sync that this person has started with this key in the last 24 hours, or a new one, and
    whether it is new. Raises what `start_sync` does; a start that was refused keeps no key."""
    organization_id = organization.id
    key = idempotency_key and hashlib.sha256(idempotency_key.encode()).hexdigest()
    actor_id = actor.id if actor else None
    details = {"organization_id": organization_id, "operation_type": str(operation_type)}
    try:
        with transaction() as session:
            # The lock makes "is one running" and "when was the last" one question on PostgreSQL.
            session.get_one(Organization, organization_id, with_for_update=True)
            if key is not None:
                earlier = _started_with(key, organization_id, actor_id)
                if earlier is not None:
                    return earlier, False
            if not organization.is_configured:
                raise ClinikoNotConfigured(**details)
            refuse_second(organization_id, details)
            since = None
            if operation_type is OperationType.CHANGED_PATIENTS:
                if needs_full_match(organization):
                    operation_type = OperationType.FULL_PATIENTS
                else:
                    since = organization.synced_through
            if origin in _LIMITED_ORIGINS:
                _refuse_early(organization, operation_type, details)
            log = SyncLog(
                organization_id=organization_id,
                operation_type=operation_type,
                origin=origin,
                started_by_id=actor_id,
                idempotency_key=key,
                expected_duration=history.expected_duration(organization, operation_type),
                started_at=now(),
                progress=Progress(operation_type, changed_since=since).metadata(),
            )
            session.add(log)
    except IntegrityError:
        # Lost the race for the one running row: the winner is there now.
        refuse_second(organization_id, details)
        raise
    try:
        enqueue_sync(log.id, log.attempt)
    except QueueUnavailable as error:
        _close_unqueued(log, error)
        raise QueueUnavailable(**details) from error
    return log, True


def cancel_sync(organization: Organization) -> SyncLog:
    """Ask the running sync to stop; one that no worker has begun is closed at once.

    Raises SyncNotRunning.
    """
    with transaction():
        log = _running(organization.id, lock=True)
        if log is None:
            raise SyncNotRunning(organization_id=organization.id)
        log.cancel_requested_at = log.cancel_requested_at or now()
        if log.worker is None:
            close(log, ErrorCode.SYNC_CANCELLED, CANCELLED)
    return log


CANCELLED = "The sync was cancelled. What was stored until then is kept."


def start_window(organization: Organization, operation_type: OperationType) -> StartWindow:
    """How the clinic stands to its limit of such starts now."""
    blocking = _last_counted(organization, operation_type)
    if blocking is None:
        return StartWindow(1, now() + START_WINDOW)
    return StartWindow(0, blocking.started_at + START_WINDOW)


def refuse_second(organization_id: int, details: dict[str, object]) -> None:
    """Raise SyncAlreadyRunning while a sync of the clinic runs; inside the caller's transaction.

    One that nobody works on any more is closed.
    """
    log = _running(organization_id)
    if log is None:
        return
    closing = closing_for(log, now())
    if closing is not None:
        close(log, closing.error_code, closing.message)
        db.session.flush()
        return
    error = SyncAlreadyRunning(
        **details,
        sync_log_id=log.id,
        progress_percent=log.progress.get("progress_percent", 0.0),
        started_at=iso(log.started_at),
    )
    error.retry_after = max(1, round(log.progress.get("estimated_remaining_seconds") or 2))
    raise error


def _refuse_early(
    organization: Organization, operation_type: OperationType, details: dict[str, object]
) -> None:
    blocking = _last_counted(organization, operation_type)
    if blocking is None:
        return
    retry_at = blocking.started_at + START_WINDOW
    raise RateLimited(
        "This clinic was synced less than five minutes ago. The next sync can be started at "
        f"{retry_at:%H:%M:%S} UTC.",
        retry_after=ceil((retry_at - now()).total_seconds()),
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
    return db.session.scalar(
        select(SyncLog)
        .where(
            SyncLog.organization_id == organization.id,
            SyncLog.origin.in_(_LIMITED_ORIGINS),
            SyncLog.operation_type.in_(holding_up),
            SyncLog.status != SyncStatus.FAILED,
            SyncLog.started_at > since,
        )
        .order_by(SyncLog.id.desc())
        .limit(1)
    )


def _started_with(key: str, organization_id: int, actor_id: int | None) -> SyncLog | None:
    return db.session.scalar(
        select(SyncLog)
        .where(
            SyncLog.organization_id == organization_id,
            SyncLog.started_by_id == actor_id,
            SyncLog.idempotency_key == key,
            SyncLog.started_at > now() - KEY_LIFETIME,
        )
        .order_by(SyncLog.id.desc())
        .limit(1)
    )


def _running(organization_id: int, *, lock: bool = False) -> SyncLog | None:
    query = select(SyncLog).where(
        SyncLog.organization_id == organization_id, SyncLog.status == SyncStatus.RUNNING
    )
    return db.session.scalar(query.with_for_update() if lock else query)


def _close_unqueued(log: SyncLog, error: QueueUnavailable) -> None:
    with transaction():
        if log.is_running and log.worker is None:
            close(log, error.error_code, error.message)
            log.idempotency_key = None  # nothing was started: the key is good for another try
