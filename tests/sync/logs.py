"""The rows of syncs, as whoever asks now sees them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from tests.cast import Cast
from webapp.extensions import db
from webapp.models import SyncLog
from webapp.sync import history


def rows() -> list[SyncLog]:
    """All of them, oldest first."""
    db.session.rollback()
    return list(db.session.scalars(select(SyncLog).order_by(SyncLog.id)))


def newest(cast: Cast) -> SyncLog:
    """Surf Rehab's newest one."""
    db.session.rollback()
    log = history.latest(cast.surf)
    assert log is not None
    return log


def certificate_of(log: SyncLog) -> dict[str, Any]:
    """That of a sync that has one."""
    certificate = log.progress["certificate"]
    assert certificate is not None
    return certificate
