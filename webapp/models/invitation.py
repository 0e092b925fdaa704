"""A link by which a person chooses a password; the link itself is not stored."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.clock import now
from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime
from webapp.models.user import User


class Invitation(Base):
    """Works until it expires; it is deleted when it was used, or is to work no longer."""

    __tablename__ = "invitations"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    # None for a command's: whoever runs those is no user.
    made_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    secret_digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship(foreign_keys=[user_id])
