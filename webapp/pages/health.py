"""What load balancers and supervisors ask: is the process alive, and can it serve."""

from __future__ import annotations

from functools import cache
from typing import Any

import structlog
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from webapp import queue
from webapp.errors import ErrorCode
from webapp.extensions import db
from webapp.pages.blueprints import open_to_all

log = structlog.get_logger()


@open_to_all.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 as long as the process answers, whatever else is down."""
    return {"status": "alive"}


@open_to_all.get("/readyz")
def readyz() -> ResponseReturnValue:
    """200 if pages can be served and syncs started, else 503 and what is missing."""
    missing = [problem for problem in (_database(), _queue()) if problem]
    if missing:
        return {"status": "not ready", "missing": missing} | _refusal(missing), 503
    return {"status": "ready"}


def _refusal(missing: list[str]) -> dict[str, Any]:
    """The keys that every error has which is told as JSON."""
    only_queue = missing == ["queue"]
    return {
        "error": True,
        "message": f"Not ready: the {' and the '.join(missing)} must be there first.",
        "error_code": ErrorCode.QUEUE_UNAVAILABLE if only_queue else ErrorCode.DATABASE_UNAVAILABLE,
        "details": {},
    }


def _database() -> str | None:
    try:
        with db.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_heads()
    except SQLAlchemyError as error:
        log.warning("database_not_ready", error=type(error).__name__)
        return "database"
    expected = _newest(current_app.extensions["migrate"].directory)
    return None if set(found) == expected else "migrations"


def _queue() -> str | None:
    return None if queue.is_reachable() else "queue"


@cache
def _newest(directory: str) -> set[str]:
    """The revisions that the code was written for."""
    return set(ScriptDirectory(directory).get_heads())
