"""Fields of forms and query strings, turned into checked values. All raise ValidationError."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import TypeVar

from werkzeug.datastructures import MultiDict

from webapp.errors import ValidationError
from webapp.services.search import LONGEST as LONGEST_SEARCH

Source = MultiDict[str, str]
Choice = TypeVar("Choice", bound=StrEnum)


def page_number(source: Source) -> int:
    """The page that is asked for; the first is 1."""
    text = source.get("page", "1")
    if not re.fullmatch("[1-9][0-9]{0,4}", text, re.ASCII):
        raise ValidationError("This page number is no number.", parameter="page")
    return int(text)


def number(source: Source, name: str) -> int:
    """A whole number; 0 where none is given."""
    text = source.get(name, "0")
    if not re.fullmatch("[0-9]{1,16}", text, re.ASCII):
        raise ValidationError("This is no whole number.", parameter=name)
    return int(text)


def choice(source: Source, name: str, kind: type[Choice]) -> Choice | None:
    """One of the values of an enum; None where nothing is chosen."""
    text = source.get(name, "")
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise ValidationError(f"{text!r} is none of the choices.", parameter=name) from error


def search(source: Source, name: str = "search") -> str:
    """Words to look for."""
    text = source.get(name, "")
    if len(text) > LONGEST_SEARCH or "\0" in text:
        said = f"Search for at most {LONGEST_SEARCH} characters of text."
        raise ValidationError(said, parameter=name)
    return text


def day(source: Source, name: str, zone: tzinfo = UTC) -> datetime | None:
    """The first moment of a day in a zone, as date fields send it; None where none is chosen."""
    text = source.get(name, "")
    if not text:
        return None
    try:
        first = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone)
        first.astimezone(UTC)  # overflows on the first and the last day there can be
    except (ValueError, OverflowError) as error:
        raise ValidationError("This is no date, as in 2026-01-31.", parameter=name) from error
    return first


def end_of_day(source: Source, name: str, zone: tzinfo = UTC) -> datetime | None:
    """The first moment after a day in a zone; None where none is chosen, and for the last day there
    can be, which nothing comes after."""
    chosen = day(source, name, zone)
    if chosen is None or chosen.date() == date.max:
        return None
    return chosen + timedelta(days=1)  # by the clock on the wall: days have 23 to 25 hours
