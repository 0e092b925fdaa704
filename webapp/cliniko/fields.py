"""The fields of one patient in Cliniko's JSON, of whatever form: checked before they are taken."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from webapp.cliniko.errors import MalformedRecord

MAX_ID = 20
MAX_NAME = 500
MAX_EMAIL = 320
MAX_PHONE = 100
MAX_PHONES = 50
EARLIEST_BIRTH = date(1850, 1, 1)
_EPOCH = date(1970, 1, 1).toordinal()

_ID = re.compile(rf"[0-9]{{1,{MAX_ID}}}", re.ASCII)
_BAD_CHARACTER = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

Value = TypeVar("Value")


def id_in(value: object) -> str | None:
    """An id as text, from JSON's number or text; None for anything that is no whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value) if _ID.fullmatch(str(value)) else None


class Fields:
    """Reads the fields of one raw record, and knows whose it is when one is wrong."""

    def __init__(self, raw: object) -> None:
        if not isinstance(raw, dict):
            raise MalformedRecord(None, "record", "is not an object")
        self._raw: dict[str, Any] = raw
        self.id = self._id()

    def text(self, field: str, longest: int) -> str:
        """A text in one line; null and "" are both empty."""
        return self._text(field, self._raw.get(field), longest)

    def moment(self, field: str) -> datetime | None:
        value = self.text(field, 40)
        return self._parsed(field, value, _moment, "is not a time") if value else None

    def birth(self) -> date | None:
        field = "date_of_birth"
        value = self.text(field, 40)
        if not value:
            return None
        born = self._parsed(field, value, date.fromisoformat, "is not a date")
        if not may_be_born_on(born):
            raise self._malformed(field, "is not a date that somebody can be born on")
        return born

    def phones(self) -> tuple[tuple[str, str], ...]:
        field = "patient_phone_numbers"
        entries = self._raw.get(field)
        if entries is None or entries == "":
            return ()
        if not isinstance(entries, list) or len(entries) > MAX_PHONES:
            raise self._malformed(field, f"is not a list of at most {MAX_PHONES} numbers")
        phones = []
        for entry in entries:
            if not isinstance(entry, dict):
                raise self._malformed(field, "holds something that is no phone number")
            kind = self._text(field, entry.get("phone_type"), MAX_PHONE)
            number = self._text(field, entry.get("number"), MAX_PHONE)
            if number:
                phones.append((kind, number))
        return tuple(phones)

    def linked_id(self, field: str) -> str | None:
        """The id at the end of a link to another patient."""
        value = self._raw.get(field)
        if value is None:
            return None
        found = _linked_id(value)
        if found is None:
            raise self._malformed(field, "does not link to a patient")
        return found

    def _id(self) -> str:
        value = self._raw.get("id")
        found = _linked_id(self._raw) if value is None else id_in(value)
        if found is None:
            raise MalformedRecord(None, "id", "is missing, or is not a whole number")
        return found

    def _text(self, field: str, value: object, longest: int) -> str:
        if not value and (value is None or value == ""):
            return ""
        if not isinstance(value, str):
            raise self._malformed(field, "is not a text")
        if len(value) > longest:
            raise self._malformed(field, f"has more than {longest} characters")
        if value.isprintable():
            return value.strip()
        value = value.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
        if _BAD_CHARACTER.search(value):
            raise self._malformed(field, "holds a character that cannot be stored")
        return value.strip()

    def _parsed(self, field: str, value: str, parse: Callable[[str], Value], reason: str) -> Value:
        try:
            return parse(value)
        except ValueError:
            raise self._malformed(field, reason) from None  # its text would repeat the value

    def _malformed(self, field: str, reason: str) -> MalformedRecord:
        return MalformedRecord(self.id, field, reason)


def may_be_born_on(day: date) -> bool:
    """Whether a living person's birthday; a day ahead, for it may already be tomorrow there."""
    today = _EPOCH + int(time.time() // 86_400)
    return day >= EARLIEST_BIRTH and day.toordinal() <= today + 1


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error


def _linked_id(value: object) -> str | None:
    links = value.get("links") if isinstance(value, dict) else None
    link = links.get("self") if isinstance(links, dict) else None
    found = link.rpartition("/")[2] if isinstance(link, str) else ""
    return found if _ID.fullmatch(found) else None
