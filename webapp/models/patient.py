"""A patient as this database holds it."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import TypedDict

from sqlalchemy import JSON, Date, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base
from webapp.models.types import BigId, SortText, UtcDateTime

# PostgreSQL takes no more than 2,704 bytes of a row into an index; a letter can be four bytes long.
# In these words its indexes below and the questions to it: it compares them as they stand.
_FITS = "(length(sort_key) + length(search_text) <= 400 AND length(search_digits) <= 600)"
FITS_INTO_THE_LIST = text(_FITS)
TOO_LONG_FOR_THE_LIST = text(f"NOT {_FITS}")
# Of another index, for the same reason; SQLite compares in this way too.
IS_DELETED = text("state = 'deleted'")


class PatientSyncStatus(StrEnum):
    """Whether the newest version that Cliniko sent could be stored."""

    SUCCESS = "success"
    FAILED = "failed"


class Phone(TypedDict):
    type: str
    number: str


class Patient(Base):
    """Only what the screens and the API need is here: what is not stored cannot leak."""

    __tablename__ = "patients"
    __table_args__ = (
        UniqueConstraint("organization_id", "cliniko_patient_id"),
        # All that lists and searches read: the table itself is ten times as wide. One for both on
        # SQLite; why PostgreSQL does better with two, see migration 0025.
        Index(
            "ix_patients_list",
            *("organization_id", "sort_key", "id", "state", "last_changed"),
            *("search_text", "search_digits"),
            info={"only": "sqlite"},
        ),
        Index(
            "ix_patients_order",
            *("organization_id", "sort_key", "id", "state"),
            postgresql_where=FITS_INTO_THE_LIST,
            info={"only": "postgresql"},
        ),
        Index(
            "ix_patients_search",
            *("organization_id", "state", "id"),
            postgresql_include=["last_changed", "sort_key", "search_text", "search_digits"],
            postgresql_where=FITS_INTO_THE_LIST,
            info={"only": "postgresql"},
        ),
        Index(
            "ix_patients_too_long_for_the_list",
            "organization_id",
            postgresql_where=TOO_LONG_FOR_THE_LIST,
            sqlite_where=TOO_LONG_FOR_THE_LIST,
        ),
        # All that the daily clean-up asks about those who are gone; the living are not in it.
        Index(
            "ix_patients_deleted",
            *("deleted_at", "last_changed", "content_hash", "id"),
            sqlite_where=IS_DELETED,
            postgresql_where=IS_DELETED,
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"))
    cliniko_patient_id: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(10))
    first_name: Mapped[str] = mapped_column(Text, default="")
    last_name: Mapped[str] = mapped_column(Text, default="")
    preferred_first_name: Mapped[str] = mapped_column(Text, default="")
    email: Mapped[str] = mapped_column(Text, default="")
    phone: Mapped[str] = mapped_column(Text, default="")
    phones: Mapped[list[Phone]] = mapped_column(JSON, default=list)
    date_of_birth: Mapped[date | None] = mapped_column(Date)
    cliniko_created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cliniko_updated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    archived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    merged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    merged_into: Mapped[str | None] = mapped_column(String(20))
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Tells a changed record from one that is only seen again.
    content_hash: Mapped[str] = mapped_column(String(64), default="")
    # Names and e-mail without case and accents; phone numbers as digits, both ways of writing them.
    search_text: Mapped[str] = mapped_column(Text, default="")
    search_digits: Mapped[str] = mapped_column(Text, default="")
    sort_key: Mapped[str] = mapped_column(SortText, default="")
    sync_status: Mapped[str] = mapped_column(String(10), default=PatientSyncStatus.SUCCESS)
    last_synced: Mapped[datetime] = mapped_column(UtcDateTime)
    last_changed: Mapped[datetime] = mapped_column(UtcDateTime)
    # The sync that last saw this patient: keeps every counter exact when a page is repeated.
    last_sync_id: Mapped[int] = mapped_column(BigId)

    @property
    def is_bare(self) -> bool:
        """Whether nothing is kept but the id, and when they went."""
        names = self.first_name or self.last_name or self.preferred_first_name
        moments = self.cliniko_created_at or self.cliniko_updated_at or self.archived_at
        merge = self.merged_at or self.merged_into
        return not (names or self.email or self.phones or self.date_of_birth or moments or merge)
