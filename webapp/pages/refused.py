"""The answer that a form is, shown again with what was wrong."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from webapp.errors import RateLimited, ValidationError


def refusal(page: str, error: RateLimited | ValidationError) -> ResponseReturnValue:
    """The answer that a page is which tells of this error: 422, or 429 with when to come again."""
    if isinstance(error, RateLimited):
        return page, 429, {"Retry-After": str(error.retry_after)}
    return page, 422
