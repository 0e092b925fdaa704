"""What the models of the API are made of: they check what comes in, shape what goes out, and
describe themselves in the published document."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)

from webapp.clock import iso

MAX_OFFSET = 1_000_000
_DIGITS_READ = 18  # Python refuses to read thousands of digits; nothing here needs that many

# The plus of a time zone arrives as a space where a client forgot to encode it.
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[ +-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)


class Answer(BaseModel):
    """A JSON object that goes out: these keys and no others, so that nothing else can leak. Where
    they are called as the columns of a row, `model_validate` takes them from the row."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        from_attributes=True,
        json_schema_serialization_defaults_required=True,
    )


class Query(BaseModel):
    """The parameters behind the question mark; those that are not named here are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Body(BaseModel):
    """A JSON object that comes in; keys that are not named here are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _whole_number(text: object) -> int:
    if not isinstance(text, str) or not re.fullmatch("[0-9]+", text):
        raise ValueError("must be a whole number")
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS_READ else 10**_DIGITS_READ


def _moment(text: object) -> datetime:
    match = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    try:
        if match is None:
            raise ValueError
        date, time, zone = match.groups(default="")
        # A leap second is written as the sixtieth (RFC 3339, section 5.7).
        time = re.sub(r"^(..:..):60", r"\1:59", time) if time.count(":") == 2 else time or "00:00"
        parsed = datetime.fromisoformat(f"{date}T{time}{zone.replace(' ', '+').upper()}")
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a date or a time, as 2024-01-15 or 2024-01-15T10:30:00Z"
        ) from None


def _storable(text: str) -> str:
    """PostgreSQL takes no zero byte."""
    if "\0" in text:
        raise ValueError("must not hold a zero byte")
    return text


def _how_many(most: int) -> Any:
    return Field(ge=1, description=f"How many; more than {most} is lowered to {most}.")


def _lowered_to(most: int) -> AfterValidator:
    return AfterValidator(partial(min, most))


# Bounds come first in an annotation, or they would not be told in the document.
WHOLE_NUMBER = BeforeValidator(_whole_number)
STORABLE = AfterValidator(_storable)
STORABLE_SCHEMA: dict[str, JsonValue] = {"pattern": r"^[^\u0000]*$"}
Offset = Annotated[
    int, Field(ge=0, le=MAX_OFFSET, description="How many are skipped."), WHOLE_NUMBER
]
UpTo100 = Annotated[int, _how_many(100), WHOLE_NUMBER, _lowered_to(100)]
UpTo500 = Annotated[int, _how_many(500), WHOLE_NUMBER, _lowered_to(500)]
AskedMoment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}),
]

Moment = Annotated[
    datetime,
    PlainSerializer(iso),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
Id = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class Pagination(Answer):
    """Where a page stands in its list."""

    total: Annotated[Count, Field(description="How many match in all.")]
    limit: Annotated[int, Field(ge=1, description="How many a page holds at most.")]
    offset: Annotated[Count, Field(description="How many were skipped.")]
    has_next: Annotated[bool, Field(description="Whether more follow.")]


def pagination(total: int, limit: int, offset: int, shown: int) -> Pagination:
    """`shown` is how many this page holds."""
    return Pagination(total=total, limit=limit, offset=offset, has_next=offset + shown < total)
