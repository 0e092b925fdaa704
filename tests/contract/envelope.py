"""The one shape of errors, over HTTP."""

from __future__ import annotations

from typing import Any

import requests


def refused(answer: requests.Response, status: int, error_code: str) -> dict[str, Any]:
    """The details of an answer that is this error in the right shape."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["error", "message", "error_code", "details"]
    assert (body["error"], body["error_code"]) == (True, error_code)
    assert body["message"].endswith(".")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]
    assert "Traceback" not in answer.text
    assert not answer.headers.get("WWW-Authenticate", "").startswith("Basic")
    details: dict[str, Any] = body["details"]
    return details
