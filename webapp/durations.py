"""Durations in words. Pure functions; all take seconds."""

from __future__ import annotations


def remaining_words(seconds: float) -> str:
    """`45 seconds`, from 90 seconds `2 minutes`, `1 hour 5 minutes`; at least `1 second`."""
    whole = max(1, round(seconds))
    if whole < 90:
        return _count(whole, "second")
    minutes = max(2, round(whole / 60))
    if minutes < 60:
        return _count(minutes, "minute")
    hours, minutes = divmod(minutes, 60)
    return _count(hours, "hour") + (f" {_count(minutes, 'minute')}" if minutes else "")


def duration_words(seconds: float) -> str:
    """`42s`, `4m 22s`, `1h 4m 22s`; parts of a second are dropped."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m {rest}s"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


def ago_words(seconds: float) -> str:
    """`just now`, `8 min ago`, `3 h ago`, `5 days ago`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return "just now"
    if whole < 3600:
        return f"{whole // 60} min ago"
    if whole < 48 * 3600:
        return f"{whole // 3600} h ago"
    return f"{whole // 86400} days ago"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
