"""The row that is a sync: its progress, its outcome, and who works on it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from math import floor
from typing import Any, TypedDict, TypeVar

from sqlalchemy import JSON, ForeignKey, Index, Select, String, Text, bindparam, func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column, relationship

from webapp.clock import now
from webapp.extensions import Base
from webapp.models.organization import Organization
from webapp.models.types import BigId, UtcDateTime
from webapp.models.user import User

T = TypeVar("T")

# In these words both of the indexes below and the questions to them: parameters match no index.
HAS_FAILURES = text("records_failed > 0")
READS_ALL = text("operation_type = 'full_patients'")


class OperationType(StrEnum):
    """What a sync reads: which listings, or only the records that have failed."""

    FULL_PATIENTS = "full_patients"
    ACTIVE_PATIENTS = "active_patients"
    RETRY_FAILED = "retry_failed"
    CHANGED_PATIENTS = "changed_patients"

    @property
    def sees_all_changes(self) -> bool:
        """Whether such a sync meets everything that has changed in Cliniko before it began."""
        return self in (OperationType.FULL_PATIENTS, OperationType.CHANGED_PATIENTS)


class SyncStatus(StrEnum):
    """Exactly three: documented clients stop polling at the last two."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class SyncPhase(StrEnum):
    """What a running sync is doing."""

    QUEUED = "queued"
    CONNECTING = "connecting"
    FETCHING = "fetching"
    RECONCILING = "reconciling"
    WAITING = "waiting"
    FINISHED = "finished"


class SyncOrigin(StrEnum):
    """Where a sync was started."""

    DASHBOARD = "dashboard"
    API = "api"
    COMMAND = "command"
    SCHEDULE = "schedule"


class SyncMetadata(TypedDict, total=False):
    """What is told of a sync beside its columns, as it stands in the row; what each key means says
    `api.metadata.Metadata`, which publishes all but `removals_marked`. An older row may lack any;
    moments are texts, in ISO 8601."""

    patients_found: int
    patients_stored: int
    sync_type: str
    current_page: int
    total_pages: int
    progress_percent: float
    estimated_remaining: str | None
    estimated_remaining_seconds: int | None
    phase: str
    waiting_until: str | None
    waiting_for: str | None
    active_found: int | None
    changed_since: str | None
    changes: dict[str, Any]
    requests_made: int
    requests_left: int | None
    phases_entered_after: dict[str, float]
    # From here on what stands there once the sync has completed.
    not_shown: int | None
    removals_held: int
    removals_unasked: int
    removals_kept: int
    certificate: dict[str, Any] | None
    # And what is decided then.
    removals_decision: str
    removals_decided_at: str
    removals_marked: int  # of those held; for our own pages


class SyncLog(Base):
    """One attempt to bring an organization in step with Cliniko."""

    __tablename__ = "sync_logs"
    __table_args__ = (
        # The guard behind "one running sync a clinic"; everything before it is only politeness.
        Index(
            "uq_sync_logs_one_running",
            "organization_id",
            unique=True,
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
        Index(None, "organization_id", "id"),
        Index(None, "completed_at"),  # for the daily clean-up
        # Few of the hundreds a day that a schedule makes, for the list of clinics.
        Index(
            "ix_sync_logs_with_failures",
            *("organization_id", "id"),
            sqlite_where=HAS_FAILURES,
            postgresql_where=HAS_FAILURES,
        ),
        Index(
            "ix_sync_logs_of_all",
            *("organization_id", "id"),
            sqlite_where=READS_ALL,
            postgresql_where=READS_ALL,
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"))
    operation_type: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(10), default=SyncStatus.RUNNING)
    origin: Mapped[str] = mapped_column(String(10))
    started_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    records_success: Mapped[int] = mapped_column(default=0)
    records_failed: Mapped[int] = mapped_column(default=0)
    # Declarative keeps the attribute name `metadata` for itself. Assign it whole: a change inside
    # the dictionary would not be saved.
    progress: Mapped[SyncMetadata] = mapped_column("metadata", JSON, default=dict)
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # A digest of what was asked for and the key that the client chose, so that asking twice starts
    # one sync.
    idempotency_key: Mapped[str | None] = mapped_column(String(64))
    expected_duration: Mapped[str] = mapped_column(String(40), default="", server_default="")

    # Whoever holds the lease works on the sync. Every write names the attempt it belongs to, so a
    # worker that was replaced while it hung cannot write any more.
    attempt: Mapped[int] = mapped_column(default=1)
    interruptions: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(100))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(JSON)

    organization: Mapped[Organization] = relationship()
    started_by: Mapped[User | None] = relationship()

    @property
    def records_processed(self) -> int:
        """Records looked at; always success plus failed."""
        return self.records_success + self.records_failed

    @property
    def success_rate(self) -> float:
        """Percent of its records that were stored, rounded down, so that it is 100.0 only when
        nothing failed."""
        if self.records_processed == 0:
            return 100.0 if self.status == SyncStatus.COMPLETED else 0.0
        return floor(self.records_success * 1000 / self.records_processed) / 10

    @property
    def percent(self) -> float:
        """How much of it is done, of 100."""
        return self.progress.get("progress_percent", 0.0)

    @property
    def is_running(self) -> bool:
        return self.status == SyncStatus.RUNNING

    @property
    def waiting_since(self) -> datetime:
        """Since when a sync without a worker waits: its start, or when one was handed over."""
        return self.lease_expires_at or self.started_at

    @property
    def duration_seconds(self) -> float | None:
        """Seconds from start to end; None while it runs."""
        return None if self.completed_at is None else self.seconds_so_far

    @property
    def seconds_so_far(self) -> float:
        """Seconds from start to end, or until now while it runs."""
        return max(0.0, ((self.completed_at or now()) - self.started_at).total_seconds())


# `waiting_since`, for questions to the database.
WAITING_SINCE = func.coalesce(SyncLog.lease_expires_at, SyncLog.started_at)

# A sync that only reads failed records again says nothing about anybody else.
BRINGS_IN_STEP = SyncLog.operation_type != OperationType.RETRY_FAILED


def newest_in_step(
    column: InstrumentedAttribute[T], organization_id: InstrumentedAttribute[int] | int
) -> Select[T]:
    """Select this column of the newest completed sync that brings a clinic in step. By order and
    limit, for a clinic may have thousands of syncs; and by `between`, for otherwise PostgreSQL may
    go back through the syncs of all clinics until it has found one. Whoever asks gives the
    `latest` moment there can be, for what is said to have ended later was closed while a clock ran
    ahead."""
    return (
        select(column)
        .where(
            SyncLog.organization_id.between(organization_id, organization_id),
            SyncLog.status == SyncStatus.COMPLETED,
            BRINGS_IN_STEP,
            SyncLog.completed_at <= bindparam("latest", type_=UtcDateTime()),
        )
        .order_by(SyncLog.organization_id.desc(), SyncLog.id.desc())
        .limit(1)
    )
