"""Two who want the same row of PostgreSQL."""

from __future__ import annotations

from sqlalchemy import text

from webapp.extensions import read_alone


def until_somebody_waits() -> None:
    """Return when somebody waits for a lock of the database of this application context."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with read_alone() as connection:
        while not connection.scalar(waiting):
            pass
