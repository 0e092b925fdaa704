"""The status of a form that is shown again with what was wrong."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from webapp.errors import RateLimited, ValidationError


def refusal(page: str, error: RateLimited | ValidationError) -> ResponseReturnValue:
    """Return this page as 422, or as 429 with `Retry-After`."""
    if isinstance(error, RateLimited):
        return page, 429, {"Retry-After": str(error.retry_after)}
    return page, 422
