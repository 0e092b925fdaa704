"""Webhooks: whom a clinic tells what happens, and each message with what became of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.clock import now
from webapp.extensions import Base
from webapp.models.organization import Organization
from webapp.models.types import BigId, UtcDateTime


class WebhookEvent(StrEnum):
    """What can be told; the test message goes to whoever is asked to send it."""

    SYNC_COMPLETED = "sync.completed"
    SYNC_FAILED = "sync.failed"
    PATIENTS_CHANGED = "patients.changed"
    TEST = "webhook.test"


SUBSCRIBABLE = (
    WebhookEvent.SYNC_COMPLETED,
    WebhookEvent.SYNC_FAILED,
    WebhookEvent.PATIENTS_CHANGED,
)


class PauseReason(StrEnum):
    """Why nothing is sent to an endpoint."""

    PERSON = "person"  # somebody has paused it
    GONE = "gone"  # it answered 410: it does not want to be asked again
    EXHAUSTED = "exhausted"  # a message failed for as long as it may be tried


class DeliveryState(StrEnum):
    """How a message stands."""

    WAITING = "waiting"  # for its first try, or for the next
    DELIVERED = "delivered"
    FAILED = "failed"  # given up; somebody may send it again


class WebhookEndpoint(Base):
    """An address that a clinic's events are sent to."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"), index=True)
    address: Mapped[str] = mapped_column(String(2048))
    sealed_secret: Mapped[str] = mapped_column(Text)
    sealed_previous_secret: Mapped[str | None] = mapped_column(Text)
    previous_secret_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The one before that, where there were two new ones within a day.
    sealed_earlier_secret: Mapped[str | None] = mapped_column(Text)
    earlier_secret_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    events: Mapped[list[str]] = mapped_column(JSON)
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_because: Mapped[str | None] = mapped_column(String(10))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    # Whoever has the turn sends, one message after the other; until `busy_until` nobody else does.
    turn: Mapped[int] = mapped_column(default=0)
    busy_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # One that fails is left alone for a while.
    rests_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failures_in_a_row: Mapped[int] = mapped_column(default=0)

    @property
    def old_secrets(self) -> list[tuple[str, datetime]]:
        """The secrets before this one that hold, too, sealed, and until when; the newest first."""
        kept = (
            (self.sealed_previous_secret, self.previous_secret_until),
            (self.sealed_earlier_secret, self.earlier_secret_until),
        )
        return [(sealed, until) for sealed, until in kept if sealed and until and until > now()]

    @property
    def old_secret_until(self) -> datetime | None:
        """Until when the secret before this one holds, too; None if it holds no more."""
        return next((until for _, until in self.old_secrets), None)

    @property
    def is_stopped(self) -> bool:
        """Whether it was paused by us and not by a person."""
        return self.paused_at is not None and self.paused_because != PauseReason.PERSON

    def is_held(self, clinic: Organization) -> bool:
        """Whether nothing may be sent to it now: it is paused, or its clinic disabled."""
        return self.paused_at is not None or not clinic.is_open

    @property
    def is_resting(self) -> bool:
        """Whether it has failed, and is left alone for a while."""
        return self.rests_until is not None and self.rests_until > now()


class WebhookDelivery(Base):
    """One message to one endpoint: the outbox. Written with what it tells of, or not at all."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(None, "endpoint_id", "id"),
        Index(None, "created_at"),
        Index(None, "state"),  # for the figures, which are asked for every few seconds
        Index(
            "ix_webhook_deliveries_waiting",
            "endpoint_id",
            "next_attempt_at",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("webhook_endpoints.id"))
    event: Mapped[str] = mapped_column(String(20))
    message_id: Mapped[str] = mapped_column(String(40), unique=True)  # the same for every try
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10), default=DeliveryState.WAITING)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    # Since it was put in the outbox, sent again by somebody, or its endpoint was resumed.
    tries: Mapped[int] = mapped_column(default=0)
    first_tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The last fifty: {"at", "status", "problem", "ms"}, the oldest first. Assign it whole.
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)

    endpoint: Mapped[WebhookEndpoint] = relationship()
