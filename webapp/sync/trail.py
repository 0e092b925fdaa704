"""What a sync leaves in the audit trail."""

from __future__ import annotations

from typing import Any

from webapp.models import SyncLog, User
from webapp.services import audit
from webapp.services.audit import Event


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


def completed(log: SyncLog, *, stored: int, failed: int) -> None:
    """Record that a sync has completed, in the same way."""
    event, clinic = Event.SYNC_COMPLETED, log.organization_id
    record(event, log.id, clinic, stored=stored, failed=failed)
