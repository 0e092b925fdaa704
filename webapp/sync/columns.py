"""A column of many rows as one text, which PostgreSQL takes apart: values one by one would take its
driver as long as all the rest of a sync, and JSON takes the server three times as long."""

from __future__ import annotations

from collections.abc import Sequence

# Stands in no text that is kept: records that hold control characters are refused.
_BETWEEN = "\x1f"


def joined(values: Sequence[str | int | None]) -> str:
    """The values of a column, one for each row; None and an empty text are the same.

    Raises ValueError for a value that would move all that follow it to other rows.
    """
    text = _BETWEEN.join(["" if value is None else str(value) for value in values])
    if text.count(_BETWEEN) != len(values) - 1:
        raise ValueError("a value holds the character that stands between values")
    return text


def taken_apart(parameter: str) -> str:
    """In SQL: the array of a column that was joined, with NULL for what is empty."""
    return f"string_to_array({parameter}, E'\\x1f', '')"
