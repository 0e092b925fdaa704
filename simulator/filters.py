"""Filters of a list: `q[]=field:OPvalue`."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import partial
from typing import Any

from simulator.exchange import Refusal
from simulator.patient import in_utc

Matches = Callable[[Any], bool]


class FieldType(Enum):
    """What a field holds, and by that the operators it can be filtered with."""

    INTEGER = ("=", "!=", ">", ">=", "<", "<=")
    DATETIME = (">", ">=", "<", "<=")
    DATE = ("=", ">", ">=", "<", "<=")
    TEXT = ("=", "!=", "~", "~~")


PATIENT_FIELDS = {
    "id": FieldType.INTEGER,
    "created_at": FieldType.DATETIME,
    "updated_at": FieldType.DATETIME,
    "date_of_birth": FieldType.DATE,
    "email": FieldType.TEXT,
    "first_name": FieldType.TEXT,
    "last_name": FieldType.TEXT,
    "old_reference_id": FieldType.TEXT,
}
DELETED_FIELDS = {"id": FieldType.INTEGER, "deleted_at": FieldType.DATETIME}

_FORM = re.compile(r"(?P<field>\w+):(?P<operator>>=|<=|!=|~~|[><=~])(?P<value>.*)", re.DOTALL)

# Turned round, since partial() binds the left side: `field > value` is `value < field`.
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.lt,
    ">=": operator.le,
    "<": operator.gt,
    "<=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """`bound` is the number when ids are cut off on one side, which needs no search."""

    field: str
    operator: str
    matches: Matches
    bound: int | None = None


def read_filter(text: str, fields: Mapping[str, FieldType]) -> Filter:
    """Return the filter for one `q[]`; Refusal 400 for a field or a form that is not known."""
    name = text.partition(":")[0]
    if name not in fields:
        raise Refusal(400, f"{name} is not filterable")
    form = _FORM.fullmatch(text)
    if not form or form["operator"] not in fields[name].value:
        raise Refusal(400, f"{name} cannot be filtered in this way: {text}")
    op, value = form["operator"], form["value"]
    try:
        matches = _READERS[fields[name]](op, value)
    except ValueError:
        raise Refusal(400, f"{name} cannot be compared with {value!r}") from None
    bound = int(value) if name == "id" and op not in ("=", "!=") else None
    return Filter(name, op, matches, bound)


def _integer(op: str, text: str) -> Matches:
    if op == "=":
        return {int(part) for part in text.split(",")}.__contains__
    return partial(_COMPARE[op], int(text))


def _datetime(op: str, text: str) -> Matches:
    if in_utc(datetime.fromisoformat(text)) != text:
        raise ValueError(text)
    return partial(_COMPARE[op], text)  # in this form, times sort as they read


def _date(op: str, text: str) -> Matches:
    if op == "=" and "*" in text:
        return _like(text, "*")
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError(text)
    compare = partial(_COMPARE[op], text)
    return lambda value: bool(value) and compare(value)


def _text(op: str, text: str) -> Matches:
    if op in _COMPARE:
        return partial(_COMPARE[op], text)
    return _like(f"%{text}%" if op == "~" else text, "%")


def _like(pattern: str, wildcard: str) -> Matches:
    """Return a test for a pattern in which a wildcard stands for any run of characters."""
    literal = map(re.escape, pattern.split(wildcard))
    matches = re.compile(".*".join(literal), re.DOTALL | re.IGNORECASE).fullmatch
    return lambda value: matches(value) is not None


_READERS = {
    FieldType.INTEGER: _integer,
    FieldType.DATETIME: _datetime,
    FieldType.DATE: _date,
    FieldType.TEXT: _text,
}
