"""Whether the database is there, takes writes, and has the tables that this code expects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import structlog
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from webapp.extensions import LOCK_TIMEOUT_MS, db, on_postgresql
from webapp.models import AuditChain
from webapp.models.audit_event import SERVICE_CHAIN

log = structlog.get_logger()

_SQLITE_BUSY = 5

# One row that is always there soon; neither changes it.
_ROW = AuditChain.chain == SERVICE_CHAIN
_LOCK = select(AuditChain.chain).where(_ROW).with_for_update(skip_locked=True)
_WRITE = update(AuditChain).where(_ROW).values(length=AuditChain.length)


def missing() -> str | None:
    """What must be there first: `database`, which must take writes, or `migrations`; None if
    nothing is missing."""
    try:
        with db.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_heads()
        if set(found) != _newest(current_app.extensions["migrate"].directory):
            return "migrations"
        _try_to_write()
    except SQLAlchemyError as error:
        log.warning("database_not_ready", error=type(error).__name__)
        return "database"
    return None


@cache
def _newest(directory: str) -> set[str]:
    """The revisions that the code was written for."""
    return set(ScriptDirectory(directory).get_heads())


def _try_to_write() -> None:
    """Raises SQLAlchemyError if nothing can be written. Waits for nobody: whoever asks wants to
    hear soon, and a lock that is held shows that somebody writes."""
    with db.engine.connect() as connection:
        if on_postgresql():
            with connection.begin():
                connection.execute(_LOCK)  # which writes, too, and a standby refuses it
            return
        connection.execution_options(begin="IMMEDIATE")
        with _without_waiting(connection), connection.begin():
            connection.execute(_WRITE)


@contextmanager
def _without_waiting(connection: Connection) -> Iterator[None]:
    """What SQLite says of a lock is no error."""
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != _SQLITE_BUSY:
            raise
    finally:
        driver.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")
