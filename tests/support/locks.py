"""Two who want the same row of PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from webapp.extensions import read_alone


def until_somebody_waits(or_else: Callable[[], bool] = lambda: False) -> None:
    """Return when somebody waits for a lock of the database of this application context, or
    `or_else` says that nobody will."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with read_alone() as connection:
        while not (or_else() or connection.scalar(waiting)):
            pass
