"""How a sync stands, in one word for people. Pure."""

from __future__ import annotations

from enum import StrEnum

from webapp.errors import ErrorCode
from webapp.models import SyncLog, SyncStatus


class Outcome(StrEnum):
    """The three statuses of a sync, and what people tell apart beyond them."""

    RUNNING = "running"
    COMPLETED = "completed"
    PARTLY = "partly"  # completed, but some records could not be stored
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def words(self) -> str:
        """What is said of it where no number of failures stands beside."""
        return "completed with failures" if self is Outcome.PARTLY else str(self)


def outcome(log: SyncLog) -> Outcome:
    """How this sync stands, or ended."""
    if log.status == SyncStatus.COMPLETED:
        return Outcome.PARTLY if log.records_failed else Outcome.COMPLETED
    if log.error_code == ErrorCode.SYNC_CANCELLED:
        return Outcome.CANCELLED
    return Outcome(log.status)
