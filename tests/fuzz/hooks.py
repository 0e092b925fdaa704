"""What schemathesis is told of our API, loaded by it through SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlencode

import schemathesis
from redis import Redis

_REDIS = Redis.from_url(os.environ["FUZZ_REDIS_URL"])
_ORGANIZATION = int(os.environ["FUZZ_ORGANIZATION"])
_LIMITED = ("sync-logs", "status", "active-patients", "test-connection", "sync-all", "sync/")
_NEVER = ("Traceback", "sqlalchemy", "SELECT ", "psycopg", "sqlite3", ".py")


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Others must live with keys that are added later; we tell of every key that we send."""
    for schema in raw_schema["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Of ids that are possible, three in four become the clinic's own: the rest are nobody's."""
    org_id = (path_parameters or {}).get("orgId")
    if path_parameters and isinstance(org_id, int) and org_id > 0 and org_id % 4:
        path_parameters["orgId"] = _ORGANIZATION
    return path_parameters


@schemathesis.hook
def filter_query(context: Any, query: dict[str, Any] | None) -> bool:
    """An address beyond 4,094 bytes never reaches us: gunicorn answers 414 by itself."""
    return len(urlencode(query or {}, doseq=True)) < 3500


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Limits on callers would turn nearly every answer into a 429 and hide the others."""
    keys = list(_REDIS.scan_iter("LIMITS*"))
    if keys:
        _REDIS.delete(*keys)


@schemathesis.check
def one_shape_of_errors(ctx: Any, response: Any, case: Any) -> None:
    """Every refusal has the envelope, every answer an id, and nothing tells of our insides."""
    assert response.headers.get("x-request-id"), "no X-Request-ID"
    if response.status_code >= 400 and case.method.upper() != "HEAD":
        body = response.json()
        assert list(body) == ["error", "message", "error_code", "details"], body
        assert body["error"] is True
        assert not [word for word in _NEVER if word in body["message"]], body["message"]


@schemathesis.check
def limits_are_told(ctx: Any, response: Any, case: Any) -> None:
    """Every answer of a limited endpoint tells of its limit."""
    known_method = response.status_code not in (404, 405)
    if known_method and any(f"/cliniko/{name}" in case.path for name in _LIMITED):
        for name in ("limit", "remaining", "reset"):
            assert response.headers.get(f"x-ratelimit-{name}"), f"no X-RateLimit-{name}"
