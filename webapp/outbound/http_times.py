"""The moments that headers of an answer tell, by the server's own clock. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """When the answer was given."""
    return _http_date(headers.get("Date", ""))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """For how many seconds `Retry-After` asks to wait, be it in seconds or as a date; None for
    nothing or nonsense. `now`: our own clock, for a server that does not tell its own."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 20:
        return float(text)
    moment = _http_date(text)
    return None if moment is None else (moment - (date_of(headers) or now)).total_seconds()


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
