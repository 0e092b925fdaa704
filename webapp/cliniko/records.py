"""From Cliniko's JSON to the few fields that we keep. What is not stored cannot leak."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

from webapp.cliniko.errors import MalformedRecord

MAX_NAME = 500
MAX_EMAIL = 320
MAX_PHONE = 100
MAX_PHONES = 50
EARLIEST_BIRTH = date(1850, 1, 1)

_ID = re.compile(r"[0-9]{1,20}", re.ASCII)
_BAD_CHARACTER = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

Value = TypeVar("Value")


class PatientState(StrEnum):
    """What a patient is in Cliniko."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    MERGED = "merged"
    DELETED = "deleted"


@dataclass(frozen=True)
class PatientRecord:
    """One patient as Cliniko sent it. Ids are text; times are aware and in UTC."""

    cliniko_patient_id: str
    state: PatientState
    first_name: str = ""
    last_name: str = ""
    preferred_first_name: str = ""
    email: str = ""
    phones: tuple[tuple[str, str], ...] = ()  # type and number
    date_of_birth: date | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    archived_at: datetime | None = None
    deleted_at: datetime | None = None
    merged_at: datetime | None = None
    merged_into: str | None = None

    @property
    def phone(self) -> str:
        """The first mobile number, else the first that is no fax."""
        mobiles = [number for kind, number in self.phones if kind.casefold() == "mobile"]
        others = [number for kind, number in self.phones if kind.casefold() != "fax"]
        return next(iter(mobiles + others), "")

    @cached_property
    def content_hash(self) -> str:
        """A short digest of what the record says, without its state and its times."""
        content = (
            self.first_name,
            self.last_name,
            self.preferred_first_name,
            self.email,
            self.phones,
            self.date_of_birth and self.date_of_birth.isoformat(),
        )
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def parse_patient(raw: object) -> PatientRecord:
    """A record of the active or the archived list. Raises MalformedRecord."""
    fields = _Fields(raw)
    archived_at, deleted_at = fields.moment("archived_at"), fields.moment("deleted_at")
    merged_at, merged_into = fields.moment("merged_at"), fields.linked_id("merged_with_patient")
    if deleted_at is not None:
        state = PatientState.DELETED
    elif merged_at is not None or merged_into is not None:
        state = PatientState.MERGED
    else:
        state = PatientState.ARCHIVED if archived_at is not None else PatientState.ACTIVE
    return PatientRecord(
        fields.id,
        state,
        first_name=fields.text("first_name", MAX_NAME),
        last_name=fields.text("last_name", MAX_NAME),
        preferred_first_name=fields.text("preferred_first_name", MAX_NAME),
        email=fields.text("email", MAX_EMAIL),
        phones=fields.phones(),
        date_of_birth=fields.birth(),
        created_at=fields.moment("created_at"),
        updated_at=fields.moment("updated_at"),
        archived_at=archived_at,
        deleted_at=deleted_at,
        merged_at=merged_at,
        merged_into=merged_into,
    )


def parse_tombstone(raw: object) -> PatientRecord:
    """A record of the list of deleted patients. Raises MalformedRecord."""
    fields = _Fields(raw)
    return PatientRecord(fields.id, PatientState.DELETED, deleted_at=fields.moment("deleted_at"))


def id_in(value: object) -> str | None:
    """An id as text, from JSON's number or text; None for anything that is no whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value) if _ID.fullmatch(str(value)) else None


class _Fields:
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
        # A day ahead, for it may already be tomorrow where the patient was born.
        if not EARLIEST_BIRTH <= born <= datetime.now(UTC).date() + timedelta(days=1):
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
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._malformed(field, "is not a text")
        if len(value) > longest:
            raise self._malformed(field, f"has more than {longest} characters")
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


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
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
