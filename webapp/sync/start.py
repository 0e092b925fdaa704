"""Starting and cancelling a sync: what the button, the API and the command line call."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from webapp.clock import iso, now
from webapp.errors import (
    ClinikoNotConfigured,
    OrganizationDisabled,
    OrganizationNotFound,
    QueueUnavailable,
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
from webapp.queue import enqueue_sync, forget_sync
from webapp.services import callers, locks
from webapp.services.audit_events import Event
from webapp.sync import ending, trail, window
from webapp.sync.ending import Closing
from webapp.sync.expected_duration import expected_duration
from webapp.sync.lease import database_now
from webapp.sync.progress import Progress
from webapp.sync.recovery import CANCELLED, close_if_due, closing_for
from webapp.sync.watermark import needs_full_sync

KEY_LIFETIME = timedelta(hours=24)


def start_sync(
    organization: Organization,
    operation_type: OperationType,
    *,
    actor: User | None,
    origin: SyncOrigin,
) -> SyncLog:
    """Start a sync and wake a worker. The row is committed before anybody is told of it.

    Where a full sync is due, a sync of what changed becomes one: its `operation_type` tells.
    Raises OrganizationDisabled, ClinikoNotConfigured, SyncAlreadyRunning (details: the running
    sync), RateLimited (details: `retry_at`) or QueueUnavailable; then nothing is left running.
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
    """The sync that this person has started with this key in the last 24 hours, asking for the same
    of the same clinic, or a new one, and whether it is new. Raises what `start_sync` does; a start
    that was refused keeps no key."""
    organization_id = organization.id
    # Of what was asked for: a sync of changes may have become one of all patients.
    key = idempotency_key and _digest(f"{operation_type} {idempotency_key}")
    actor_id = actor.id if actor else None
    details = {"organization_id": organization_id, "operation_type": str(operation_type)}
    try:
        with transaction():
            # The lock makes "is one running" and "when was the last" one question on PostgreSQL.
            locks.clinic(organization_id)
            if key is not None:
                earlier = _started_with(key, organization_id, actor_id)
                if earlier is not None:
                    return earlier, False
            log = admit(organization, operation_type, origin=origin, actor=actor, key=key)
    except IntegrityError:
        # Lost the race for the one running row: the winner is there now.
        refuse_while_running(organization_id)
        raise
    try:
        enqueue_sync(log.id, log.attempt)
    except QueueUnavailable as error:
        if _close_unqueued(log, error, actor):
            raise QueueUnavailable(**details) from error
    return log, True


def admit(
    organization: Organization,
    operation_type: OperationType,
    *,
    origin: SyncOrigin,
    actor: User | None = None,
    key: str | None = None,
) -> SyncLog:
    """Insert the row of a new sync and record its start, as the last step of the caller's
    transaction, which has locked the clinic. `key` is a digest of what the client has called it.

    Where a full sync is due, a sync of what changed becomes one.
    Raises OrganizationNotFound for a clinic that was deleted, OrganizationDisabled,
    ClinikoNotConfigured, SyncAlreadyRunning or RateLimited.
    """
    details = {"organization_id": organization.id, "operation_type": str(operation_type)}
    if organization.deleted_at is not None:
        raise OrganizationNotFound(**details)
    if organization.disabled_at is not None:
        raise OrganizationDisabled(**details)
    if not organization.is_configured:
        raise ClinikoNotConfigured(**details)
    if actor is not None:
        locks.person(actor.id)
    refuse_while_running(organization.id)
    since = None
    if operation_type is OperationType.CHANGED_PATIENTS:
        if needs_full_sync(organization):
            operation_type = OperationType.FULL_PATIENTS
        else:
            since = organization.synced_through
    if origin in window.LIMITED_ORIGINS:
        window.refuse_early(organization, operation_type, details)
    log = SyncLog(
        organization_id=organization.id,
        operation_type=operation_type,
        origin=origin,
        started_by_id=actor.id if actor else None,
        idempotency_key=key,
        expected_duration=expected_duration(organization, operation_type),
        started_at=now(),
        progress=Progress(operation_type, changed_since=since).metadata(),
    )
    db.session.add(log)
    db.session.flush()
    trail.record(
        Event.SYNC_STARTED,
        log.id,
        log.organization_id,
        actor=actor,
        operation_type=str(operation_type),
    )
    return log


def cancel_sync(
    organization: Organization, *, actor: User | None = None, sync_log_id: int | None = None
) -> SyncLog:
    """Ask the running sync to stop; one that no worker has begun is closed at once.

    Raises SyncNotRunning, also if another one runs than the one that is meant.
    """
    with transaction():
        log = running_sync(organization.id, lock=True)
        if log is None or sync_log_id not in (None, log.id):
            raise SyncNotRunning(organization_id=organization.id)
        if log.worker is None:
            log.cancel_requested_at = now()
            ending.fail(log, CANCELLED, actor=actor)
        elif log.cancel_requested_at is None:
            log.cancel_requested_at = now()
            trail.record(Event.SYNC_CANCEL_ASKED, log.id, log.organization_id, actor=actor)
    if not log.is_running:  # else it would cost a worker a look, before the syncs of others
        forget_sync(log.id, log.attempt)
    return log


def refuse_while_running(organization_id: int) -> None:
    """Raise SyncAlreadyRunning while a sync of the clinic runs; inside the caller's transaction.

    One that nobody works on any more is closed.
    """
    log = running_sync(organization_id)
    if log is None:
        return
    # By the clock that leases are in; and only whoever has locked the row may close it.
    if closing_for(log, database_now()) is not None:
        db.session.refresh(log, with_for_update=True)
        if log.status != SyncStatus.RUNNING or close_if_due(log) is not None:
            return
    error = SyncAlreadyRunning(
        organization_id=organization_id,
        operation_type=log.operation_type,
        sync_log_id=log.id,
        progress_percent=log.percent,
        started_at=iso(log.started_at),
    )
    error.retry_after = max(1, round(log.progress.get("estimated_remaining_seconds") or 2))
    raise error


def running_sync(organization_id: int, *, lock: bool = False) -> SyncLog | None:
    """The sync of a clinic that runs, in whatever state; `lock` keeps it as it is."""
    query = select(SyncLog).where(
        SyncLog.organization_id == organization_id, SyncLog.status == SyncStatus.RUNNING
    )
    return db.session.scalar(query.with_for_update() if lock else query)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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


def _close_unqueued(log: SyncLog, error: QueueUnavailable, actor: User | None) -> bool:
    """Close a sync as failed that no worker was told of, unless it was cancelled meanwhile. False
    if one was told all the same, and only Redis's word for it got lost: it has begun, or ended."""
    # Nothing is left running, even if whoever started it was signed out since.
    unchecked = replace(callers.current.get(), let_in=None)
    with callers.called_by(unchecked), transaction():
        locks.row(log)  # or a worker could take it between the look and the write
        if log.worker is not None or log.attempt > 1:
            return False
        log.idempotency_key = None  # nothing was started: the key is good for another try
        if log.is_running:
            ending.fail(log, Closing(error.error_code, error.message), actor=actor)
        return True
