"""A record that a sync could not store."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime


class SyncFailure(Base):
    """Which record failed, where and why; never what was in it."""

    __tablename__ = "sync_failures"
    __table_args__ = (UniqueConstraint("sync_log_id", "cliniko_patient_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sync_log_id: Mapped[int] = mapped_column(ForeignKey("sync_logs.id"))
    # A record without a usable id is kept under its place, as `page 3, record 7`.
    cliniko_patient_id: Mapped[str] = mapped_column(String(40))
    page: Mapped[int]
    field: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(String(200))
    failed_at: Mapped[datetime] = mapped_column(UtcDateTime)
