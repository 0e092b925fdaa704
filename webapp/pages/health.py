"""What load balancers and supervisors ask: is the process alive, and can it serve."""

from __future__ import annotations

from typing import Any

from flask.typing import ResponseReturnValue

from webapp import queue
from webapp.errors import ErrorCode
from webapp.pages.blueprints import open_to_all
from webapp.services import readiness


@open_to_all.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 as long as the process answers, whatever else is down."""
    return {"status": "alive"}


@open_to_all.get("/readyz")
def readyz() -> ResponseReturnValue:
    """200 if pages can be served and syncs started, else 503 and what is missing."""
    of_queue = None if queue.takes_writes() else "queue"
    missing = [problem for problem in (readiness.missing(), of_queue) if problem]
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
