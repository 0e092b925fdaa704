"""Whether the database is there, and has the tables that this code was written for."""

from __future__ import annotations

from functools import cache

import structlog
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from webapp.extensions import db

log = structlog.get_logger()


def missing() -> str | None:
    """What must be there first: `database` or `migrations`; None if nothing is missing."""
    try:
        with db.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_heads()
    except SQLAlchemyError as error:
        log.warning("database_not_ready", error=type(error).__name__)
        return "database"
    expected = _newest(current_app.extensions["migrate"].directory)
    return None if set(found) == expected else "migrations"


@cache
def _newest(directory: str) -> set[str]:
    """The revisions that the code was written for."""
    return set(ScriptDirectory(directory).get_heads())
