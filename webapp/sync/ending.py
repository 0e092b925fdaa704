"""The end of a sync: the one place where it gets its final status, and where others hear of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from webapp.clock import iso, now
from webapp.durations import duration_words
from webapp.extensions import db
from webapp.models import (
    ChangeKind,
    PatientChange,
    SyncLog,
    SyncPhase,
    SyncStatus,
    User,
    WebhookEvent,
)
from webapp.services import notices
from webapp.services.webhooks import outbox
from webapp.sync import trail
from webapp.sync.progress import left_alone

WHAT_IS_KEPT = "What was stored until then is kept."


@dataclass(frozen=True)
class Closing:
    """Why a sync fails: a code for programs, a sentence for people."""

    error_code: str
    message: str


def complete(log: SyncLog) -> None:
    """Close a sync as completed and tell of it, as the last step of the caller's transaction."""
    log.status = SyncStatus.COMPLETED
    log.completed_at = now()
    log.lease_expires_at = None
    log.checkpoint = None
    outbox.put(log.organization_id, WebhookEvent.SYNC_COMPLETED, _data(log))
    _tell_of_its_changes(log)
    notices.sync_ended(log)
    trail.completed(log)


def fail(
    log: SyncLog,
    closing: Closing,
    moment: datetime | None = None,
    *,
    actor: User | None = None,
) -> None:
    """Close a sync as failed and tell of it, as the last step of the caller's transaction. `actor`
    is whoever made it end at this very moment."""
    show_failed(log, closing, moment)
    log.checkpoint = None  # nobody goes on from there, and it names ids of patients
    why = {"error_code": log.error_code, "message": log.error_message}
    outbox.put(log.organization_id, WebhookEvent.SYNC_FAILED, _data(log) | why)
    _tell_of_its_changes(log)
    notices.sync_ended(log)
    trail.failed(log, actor=actor)


def tell_of_changes(log: SyncLog, counts: Mapping[str, int], *, cursor: int) -> None:
    """Tell how many patients of each kind were changed, inside the caller's transaction. `log` is
    the sync that they stand with, `cursor` the place in the feed behind which they follow."""
    news = {"changes": {str(kind): counts[kind] for kind in ChangeKind}, "cursor": cursor}
    outbox.put(log.organization_id, WebhookEvent.PATIENTS_CHANGED, _data(log) | news)


def show_failed(log: SyncLog, closing: Closing, moment: datetime | None = None) -> None:
    """Give a row the looks of a failed sync: of one that is only shown, nobody is told."""
    log.status = SyncStatus.FAILED
    log.completed_at = moment or now()
    log.error_code = str(closing.error_code)
    log.error_message = closing.message
    log.progress = left_alone(log.progress, SyncPhase.FINISHED)


def _tell_of_its_changes(log: SyncLog) -> None:
    """Of a failed sync too: what it has stored stays, and the next one begins behind it."""
    counts = log.progress.get("changes") or {}
    if any(counts.get(kind) for kind in ChangeKind):
        tell_of_changes(log, counts, cursor=_before_its_changes(log))


def _before_its_changes(log: SyncLog) -> int:
    """The cursor behind which the feed tells of the changes of this sync."""
    theirs = select(func.min(PatientChange.position)).where(PatientChange.sync_log_id == log.id)
    return (db.session.scalar(theirs) or 1) - 1


def _data(log: SyncLog) -> dict[str, Any]:
    """What webhooks tell of a sync: the three keys that were promised first, then ours."""
    assert log.completed_at is not None
    return {
        "patients_synced": log.records_success,
        "duration": duration_words(log.seconds_so_far),
        "success_rate": log.success_rate,
        "sync_log_id": log.id,
        "operation_type": log.operation_type,
        "started_at": iso(log.started_at),
        "completed_at": iso(log.completed_at),
        "records_failed": log.records_failed,
    }
