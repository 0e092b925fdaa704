"""What a sync, or a decision, has changed about a patient."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime


class ChangeKind(StrEnum):
    """What has happened to a patient."""

    ADDED = "added"
    UPDATED = "updated"
    ARCHIVED = "archived"
    MERGED = "merged"
    DELETED = "deleted"
    RESTORED = "restored"


class PatientChange(Base):
    """One change of one patient: which fields, never what stood in them.

    `position` grows in the order in which the changes of a clinic were committed. It has gaps: what
    is deleted later leaves one, and so does a failover (`sync/changes.leave_room`).
    """

    __tablename__ = "patient_changes"
    __table_args__ = (
        Index(None, "organization_id", "cliniko_patient_id"),
        Index(None, "sync_log_id"),
        # Kept in the order in which it is written and read.
        {"sqlite_with_rowid": False},
    )

    # No foreign keys, as PostgreSQL would look the same rows up for each of a hundred thousand
    # changes: the row of the clinic is locked and written to in the transaction of each.
    organization_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    cliniko_patient_id: Mapped[str] = mapped_column(String(20))
    # The sync that found it, or whose held removals were confirmed.
    sync_log_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(10))
    fields: Mapped[list[str]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
