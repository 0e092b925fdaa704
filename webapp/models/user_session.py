"""Somebody signed in at one browser; the secret that the browser keeps is not stored."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime
from webapp.models.user import User


class UserSession(Base):
    """Holds until it is ended, or for too long nobody was there; `services/sessions.py` says when.

    A row stays for a while after its end, as a record of who was signed in from where.
    """

    __tablename__ = "user_sessions"
    __table_args__ = ({"sqlite_autoincrement": True},)  # the audit trail names its ids

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    secret_digest: Mapped[str] = mapped_column(String(64), unique=True)
    # The person's epoch when they signed in: raising theirs ends all their sessions.
    epoch: Mapped[int] = mapped_column()
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # When they last entered their password: dangerous acts ask for it again after a while.
    proved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    address: Mapped[str] = mapped_column(String(45))
    agent: Mapped[str] = mapped_column(String(200))

    user: Mapped[User] = relationship()
