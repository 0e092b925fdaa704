"""The status of a form that is shown again with what was wrong."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from webapp.errors import RateLimited
from webapp.limits import refusals


def refusal(page: str, error: Exception) -> ResponseReturnValue:
    """Return this page as 422, or as 429 with `Retry-After`, which is put on record."""
    if isinstance(error, RateLimited):
        refusals.note(error)
        return page, 429, {"Retry-After": str(error.retry_after)}
    return page, 422
