"""A patient who seems to be gone from Cliniko and is not marked deleted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, ForeignKey, Index, String, UniqueConstraint, and_
from sqlalchemy.orm import Mapped, mapped_column

from webapp.cliniko.records import PatientState
from webapp.extensions import Base
from webapp.models.patient import Patient
from webapp.models.types import BigId, UtcDateTime


class RemovalsDecision(StrEnum):
    """What an admin has decided about the removals that a sync held back."""

    CONFIRMED = "confirmed"
    DISMISSED = "dismissed"


class HeldRemoval(Base):
    """One of too many to be believed: waits for a decision, or is kept by one."""

    __tablename__ = "held_removals"
    __table_args__ = (
        UniqueConstraint("organization_id", "cliniko_patient_id"),
        Index(None, "sync_log_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"))
    # The last sync that held this patient; of a kept one the sync that was decided about.
    sync_log_id: Mapped[int] = mapped_column(ForeignKey("sync_logs.id"))
    cliniko_patient_id: Mapped[str] = mapped_column(String(20))
    # When they went, as Cliniko says; of one that stands in no list, when Cliniko was asked.
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    held_since: Mapped[datetime] = mapped_column(UtcDateTime)
    kept_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


SAME_PATIENT = and_(
    Patient.organization_id == HeldRemoval.organization_id,
    Patient.cliniko_patient_id == HeldRemoval.cliniko_patient_id,
)


def still_gone() -> ColumnElement[bool]:
    """Join condition: the row's patient, if not deleted here and not seen by any later sync, failed
    ones included."""
    return and_(
        SAME_PATIENT,
        Patient.state != PatientState.DELETED,
        Patient.last_sync_id <= HeldRemoval.sync_log_id,
    )
