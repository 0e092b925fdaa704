"""The daily clean-up: that it was done, and how much went."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, Date
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base
from webapp.models.types import UtcDateTime


class CleanUp(Base):
    """One day's. Any worker does a part of it, one of them at a time."""

    __tablename__ = "clean_ups"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    taken_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    removed: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # counts, by what it was
