"""A mail to somebody about a clinic or their own account, kept until it is sent."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.clock import now
from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime


class NoticeKind(StrEnum):
    """What a notice tells."""

    FAILING = "failing"  # syncs have begun to fail
    RECOVERED = "recovered"  # they work again
    OVERDUE = "overdue"  # not in step for longer than the schedule allows
    WEBHOOK_STOPPED = "webhook"  # a webhook was paused by us
    ACCOUNT = "account"  # how the recipient signs in was changed, or what they may


class NoticeState(StrEnum):
    """How a notice stands."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"  # given up after a day of tries
    UNWANTED = "unwanted"  # the recipient was not to be told any more


class Notice(Base):
    """One mail to one person: each is tried by itself."""

    __tablename__ = "notices"
    __table_args__ = (
        Index(None, "organization_id", "id"),
        Index(
            "ix_notices_waiting",
            "next_attempt_at",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    organization_id: Mapped[int | None] = mapped_column(ForeignKey("organizations.id"))
    kind: Mapped[str] = mapped_column(String(10))
    recipient: Mapped[str] = mapped_column(String(320))
    subject: Mapped[str] = mapped_column(String(300))
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10), default=NoticeState.WAITING)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    # When the next try may begin; while one is made, when it counts as lost.
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    tries: Mapped[int] = mapped_column(default=0)
