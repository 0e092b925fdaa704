"""The records that a sync could not store. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from webapp.cliniko.errors import MalformedRecord
from webapp.extensions import db
from webapp.models import SyncFailure


@dataclass(frozen=True)
class Refusal:
    """A record that cannot be stored, and why; its id or, without one, its place."""

    key: str
    field: str
    reason: str
    page: int = 0

    @classmethod
    def of(cls, error: MalformedRecord, page: int, place: int) -> Refusal:
        """What is kept of a malformed record: never its content."""
        key = error.cliniko_patient_id or f"page {page}, record {place}"
        return cls(key[:40], error.field[:40], error.reason[:200], page)


def failed_before(sync_log_id: int) -> set[str]:
    """The keys of the records that have failed in this sync so far."""
    query = select(SyncFailure.cliniko_patient_id).where(SyncFailure.sync_log_id == sync_log_id)
    return set(db.session.scalars(query))


def note_failures(sync_log_id: int, refusals: Iterable[Refusal], *, failed_at: datetime) -> None:
    """Keep which records failed, where and why."""
    rows = [
        {
            "sync_log_id": sync_log_id,
            "cliniko_patient_id": refusal.key,
            "page": refusal.page,
            "field": refusal.field,
            "reason": refusal.reason,
            "failed_at": failed_at,
        }
        for refusal in refusals
    ]
    if rows:
        db.session.execute(insert(SyncFailure), rows)


def forget_failures(sync_log_id: int, healed: list[str]) -> None:
    """These records could be stored after all."""
    if healed:
        db.session.execute(
            delete(SyncFailure)
            .where(
                SyncFailure.sync_log_id == sync_log_id, SyncFailure.cliniko_patient_id.in_(healed)
            )
            .execution_options(synchronize_session=False)
        )
