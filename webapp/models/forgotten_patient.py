"""A patient whom no sync may bring back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime


class ForgottenPatient(Base):
    """Says that somebody was forgotten, and not who: the digest is keyed, see Organization."""

    __tablename__ = "forgotten_patients"
    __table_args__ = (UniqueConstraint("organization_id", "digest"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"))
    digest: Mapped[str] = mapped_column(String(64))
    # Read by nothing: kept for whoever has to show when a certain id was forgotten, as no event of
    # the audit trail names its digest.
    forgotten_at: Mapped[datetime] = mapped_column(UtcDateTime)
