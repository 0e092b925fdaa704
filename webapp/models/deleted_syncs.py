"""The syncs that are not kept any more."""

from __future__ import annotations

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base


class DeletedSyncs(Base):
    """How many of them ended in one way: what the metrics count never falls."""

    __tablename__ = "deleted_syncs"

    status: Mapped[str] = mapped_column(String(10), primary_key=True)
    error_code: Mapped[str] = mapped_column(String(40), primary_key=True)  # empty for none
    count: Mapped[int] = mapped_column(BigInteger)
