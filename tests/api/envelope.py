"""The one shape of errors:

{"error": true, "message": "...", "error_code": "...", "details": {...}}
"""

from __future__ import annotations

from typing import Any

from werkzeug.test import TestResponse


def details_of(answer: TestResponse, status: int, error_code: str) -> dict[str, Any]:
    """The details of an answer that is this error in the right shape."""
    body = answer.get_json()
    assert (answer.status_code, body["error_code"]) == (status, error_code), body
    assert list(body) == ["error", "message", "error_code", "details"]
    assert body["error"] is True
    assert isinstance(body["message"], str)
    assert body["message"].endswith(".")
    assert answer.mimetype == "application/json"
    assert answer.headers["X-Request-ID"]
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    details: dict[str, Any] = body["details"]
    return details
