"""When a clinic is synced without anybody asking for it."""

from __future__ import annotations

from datetime import datetime, time

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime


class Schedule(Base):
    """The schedule of a clinic; one without a row is synced only when somebody asks."""

    __tablename__ = "schedules"

    organization_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True
    )
    changes_every: Mapped[int | None]  # minutes; None: never
    full_at: Mapped[time | None]  # by the clinic's own clock; None: never
    # Whoever moves one of these forward starts what was due: no two workers can.
    next_changes_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    next_full_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The newest run that was left out because a sync was running.
    skipped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Since when its longest gap holds: it was chosen then, or its clinic was enabled again.
    saved_at: Mapped[datetime] = mapped_column(UtcDateTime)
