"""What a sync leaves in the audit trail."""

from __future__ import annotations

from typing import Any

from webapp.errors import ErrorCode
from webapp.models import SyncLog, User
from webapp.services import audit
from webapp.services.audit import Result
from webapp.services.audit_events import Event


def record(
    event: Event,
    sync_log_id: int,
    organization_id: int,
    *,
    actor: User | None = None,
    **details: Any,
) -> None:
    """Record what became of a sync, as the last step of the caller's transaction."""
    audit.record(
        event,
        actor=actor,
        organization_id=organization_id,
        subject=f"sync {sync_log_id}",
        **details,
    )


def completed(log: SyncLog) -> None:
    """Record that a sync has completed, in the same way."""
    stored, failed = log.records_success, log.records_failed
    record(Event.SYNC_COMPLETED, log.id, log.organization_id, stored=stored, failed=failed)


def failed(log: SyncLog, *, actor: User | None) -> None:
    """Record that a sync has failed or was cancelled, in the same way."""
    if log.error_code == ErrorCode.SYNC_CANCELLED:
        return record(Event.SYNC_CANCELLED, log.id, log.organization_id, actor=actor)
    return record(
        Event.SYNC_FAILED,
        log.id,
        log.organization_id,
        actor=actor,
        result=Result.FAILED,
        error_code=log.error_code,
    )
