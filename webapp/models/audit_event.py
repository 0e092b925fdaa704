"""Who did and saw what: a chain of events for each clinic that nobody can change unseen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base
from webapp.models.types import BigId, UtcDateTime

SERVICE_CHAIN = 0  # of what belongs to no clinic


HAS_SUBJECT = text("subject IS NOT NULL")


class AuditEvent(Base):
    """One event. The database refuses to change or delete it (a trigger, see the migration)."""

    __tablename__ = "audit_events"
    __table_args__ = (
        UniqueConstraint("chain", "number"),
        Index("ix_audit_events_actor_id_id", "actor_id", "id"),
        Index(
            "ix_audit_events_subject",
            *("subject", "chain", "number"),
            sqlite_where=HAS_SUBJECT,
            postgresql_where=HAS_SUBJECT,
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    chain: Mapped[int] = mapped_column(BigId)  # the clinic's id; no key, for it outlives the clinic
    number: Mapped[int] = mapped_column(BigId)  # in its chain, from 1
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    event: Mapped[str] = mapped_column(String(40))
    actor_id: Mapped[int | None] = mapped_column(BigId)
    actor: Mapped[str | None] = mapped_column(String(320))  # their address at the time
    role: Mapped[str | None] = mapped_column(String(10))
    via: Mapped[str] = mapped_column(String(10))
    ip: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str | None] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(64))  # `patient 5`, `sync 7`
    result: Mapped[str] = mapped_column(String(10))
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    hash: Mapped[str] = mapped_column(String(64))  # over all of this and the hash before


class AuditChain(Base):
    """How far a chain has come. Its row is the lock under which the next event is added."""

    __tablename__ = "audit_chains"

    chain: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    length: Mapped[int] = mapped_column(BigId)
    hash: Mapped[str] = mapped_column(String(64))
