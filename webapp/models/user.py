"""A person who signs in, or on whose behalf a program calls the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, false, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.clock import now
from webapp.extensions import Base
from webapp.models.organization import Organization
from webapp.models.types import BigId, UtcDateTime

# So many wrong ones in a row, and only a new link opens the account (NIST SP 800-63B, 3.2.2).
MOST_FAILURES_IN_A_ROW = 100


class Role(StrEnum):
    """Admins see every clinic; managers and viewers the one they belong to."""

    ADMIN = "admin"
    MANAGER = "manager"
    VIEWER = "viewer"


class User(Base):
    """Somebody who may ask."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(
            "role = 'admin' OR organization_id IS NOT NULL", name="belongs_to_a_clinic"
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(10))
    organization_id: Mapped[int | None] = mapped_column(ForeignKey("organizations.id"))
    active: Mapped[bool] = mapped_column(default=True)
    # By a link, and has not chosen a password yet.
    invited: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Wants mails about the syncs and webhooks of clinics; viewers get none.
    notices: Mapped[bool] = mapped_column(default=True, server_default=true())
    last_sign_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Part of every session: what changes it ends them all.
    session_epoch: Mapped[int] = mapped_column(default=0)
    # Wrong passwords and codes since somebody last got in.
    failures_in_a_row: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    # A code of their phone is needed since then.
    second_factor_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    organization: Mapped[Organization | None] = relationship()

    @property
    def state(self) -> str:
        """`active`, `closed`, `invited` or `deactivated`."""
        if not self.active:
            return "deactivated"
        if self.invited:
            return "invited"
        return "closed" if self.is_closed else "active"

    @property
    def is_closed(self) -> bool:
        """Whether a person needs a new link, whatever password or code they have."""
        return self.failures_in_a_row >= MOST_FAILURES_IN_A_ROW
