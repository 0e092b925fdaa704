"""An organization: one clinic, or a group of clinics, with one Cliniko account."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String, Text, and_
from sqlalchemy.orm import Mapped, mapped_column

from webapp.clock import now
from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime


class Organization(Base):
    """The tenant. Every patient and every sync belongs to exactly one."""

    __tablename__ = "organizations"
    __table_args__ = ({"sqlite_autoincrement": True},)  # an id is never given to a second clinic

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    # The Cliniko account that the first key opened; later keys must open the same one.
    cliniko_id: Mapped[str | None] = mapped_column(String(40))
    cliniko_name: Mapped[str | None] = mapped_column(String(200))
    cliniko_subdomain: Mapped[str | None] = mapped_column(String(63))
    # By its name in the tz database: what Cliniko told first, unless somebody has said otherwise.
    time_zone: Mapped[str | None] = mapped_column(String(64))
    encrypted_api_key: Mapped[str | None] = mapped_column(Text)
    api_key_hint: Mapped[str | None] = mapped_column(String(4))
    shard: Mapped[str | None] = mapped_column(String(4))
    credentials_saved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    connection_checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    connection_error_code: Mapped[str | None] = mapped_column(String(40))
    cliniko_patients: Mapped[int | None]
    # Tells those who ask again whether something has changed that no newer sync tells of. At first
    # only decisions about removals did that, from which the column has its name.
    patients_changed_at: Mapped[datetime | None] = mapped_column("removals_decided_at", UtcDateTime)
    # While it is disabled nobody but admins can see it, and no sync starts.
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # From then on it is not there for anybody; only what its syncs were is kept.
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Sealed, made when the first patient is forgotten: what ids of patients are hashed with.
    forgetting_key: Mapped[str | None] = mapped_column(Text)
    # The watermark: whatever Cliniko changed before this moment of its own clock, we have seen.
    synced_through: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The position of the newest change of a patient, and of the newest of those that are gone.
    changes_recorded: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    changes_dropped: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    @property
    def is_configured(self) -> bool:
        """Whether an API key is stored."""
        return self.encrypted_api_key is not None

    @property
    def is_open(self) -> bool:
        """Whether anything may happen for it: it is neither disabled nor deleted."""
        return self.disabled_at is None and self.deleted_at is None

    @property
    def can_be_synced(self) -> bool:
        """Whether a sync of it may begin."""
        return self.is_open and self.is_configured


# The same for questions to the database.
NOT_DELETED = Organization.deleted_at.is_(None)
IS_OPEN = and_(Organization.disabled_at.is_(None), NOT_DELETED)
CAN_BE_SYNCED = and_(IS_OPEN, Organization.encrypted_api_key.is_not(None))
