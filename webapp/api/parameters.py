"""Query strings and JSON bodies, turned into checked values.

Every function raises ValidationError, which names the parameter. Unknown parameters are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

from flask import request

from webapp.errors import ValidationError

MAX_OFFSET = 1_000_000
MAX_SEARCH = 100
_LARGE = 10**18

# The plus of a time zone arrives as a space where a client forgot to encode it.
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[ +-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
Choice = TypeVar("Choice", bound=str)


def limit(*, default: int, maximum: int) -> int:
    """How many rows are asked for; more than the maximum is lowered to it."""
    number = _number("limit")
    if number == 0:
        raise ValidationError("limit must be at least 1.", parameter="limit")
    return default if number is None else min(number, maximum)


def offset() -> int:
    """How many rows are skipped."""
    number = _number("offset") or 0
    if number > MAX_OFFSET:
        raise ValidationError(f"offset must be at most {MAX_OFFSET}.", parameter="offset")
    return number


def choice(name: str, allowed: Sequence[Choice]) -> Choice | None:
    """One of the allowed values; None if the parameter is not there."""
    text = _text(name)
    if text is None:
        return None
    for value in allowed:
        if value == text:
            return value
    raise ValidationError(f"{name} must be one of: {', '.join(allowed)}.", parameter=name)


def search() -> str:
    """What to look for; empty for everything."""
    text = _text("search") or ""
    if len(text) > MAX_SEARCH or "\0" in text:
        raise ValidationError(
            f"search must be text of at most {MAX_SEARCH} characters.", parameter="search"
        )
    return text


def moment(name: str) -> datetime | None:
    """A date (its first second) or a date and time; UTC where no time zone is given."""
    text = _text(name)
    if text is None:
        return None
    match = _MOMENT.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        date, time, zone = match.groups(default="")
        parsed = datetime.fromisoformat(f"{date}T{time or '00:00'}{zone.replace(' ', '+').upper()}")
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValidationError(
            f"{name} must be a date or a time, as 2024-01-15 or 2024-01-15T10:30:00Z.",
            parameter=name,
        ) from None


def body_text(name: str, *, max_length: int) -> str:
    """A text of the JSON object in the body."""
    try:
        body = request.get_json()
    except RecursionError:
        body = None
    if not isinstance(body, dict):
        raise ValidationError("The body must be a JSON object.", parameter="body")
    text = body.get(name)
    if not isinstance(text, str) or not 1 <= len(text) <= max_length or not _is_storable(text):
        raise ValidationError(
            f"{name} must be text of 1 to {max_length} characters.", parameter=name
        )
    return text


def _number(name: str) -> int | None:
    text = _text(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]+", text):
        raise ValidationError(f"{name} must be a whole number.", parameter=name)
    # Python refuses to read numbers of thousands of digits; nothing here needs more than a few.
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) < len(str(_LARGE)) else _LARGE


def _text(name: str) -> str | None:
    values = request.args.getlist(name)
    if len(values) > 1:
        raise ValidationError(f"{name} is given more than once.", parameter=name)
    return values[0] if values else None


def _is_storable(text: str) -> bool:
    """No zero byte, which PostgreSQL refuses, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
