"""From Cliniko's JSON to the few fields that we keep. What is not stored cannot leak."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import msgspec

from webapp.cliniko.errors import MalformedRecord
from webapp.cliniko.fields import (
    MAX_EMAIL,
    MAX_ID,
    MAX_NAME,
    MAX_PHONE,
    MAX_PHONES,
    Fields,
    may_be_born_on,
)
from webapp.cliniko.raw import PlainPatient

_BETWEEN = "\x1f"  # stands in no text that is kept


class PatientState(StrEnum):
    """What a patient is in Cliniko."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    MERGED = "merged"
    DELETED = "deleted"


class PatientRecord(msgspec.Struct, frozen=True, dict=True):
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
    def is_tombstone(self) -> bool:
        """Whether it says that the patient was deleted."""
        return self.state is PatientState.DELETED

    @property
    def phone(self) -> str:
        """The first mobile number, else the first that is no fax."""
        best = ""
        for kind, number in self.phones:
            kind = kind.casefold()
            if kind == "mobile":
                return number
            if not best and kind != "fax":
                best = number
        return best

    @cached_property
    def content_hash(self) -> str:
        """A short digest of what the record says, without its state and its times."""
        born = self.date_of_birth.isoformat() if self.date_of_birth else ""
        names = (self.first_name, self.last_name, self.preferred_first_name, self.email, born)
        content = _BETWEEN.join([*names, *chain.from_iterable(self.phones)])
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


class Malformed(NamedTuple):
    """What is kept of a record that cannot be taken: whose, which field, and why; no content."""

    cliniko_patient_id: str | None
    field: str
    reason: str


def read_patient(raw: object) -> PatientRecord | Malformed:
    """A record of the active or the archived list, or what is wrong with it."""
    return _read(raw, parse_patient)


def read_tombstone(raw: object) -> PatientRecord | Malformed:
    """A record of the list of deleted patients, or what is wrong with it."""
    return _read(raw, parse_tombstone)


def parse_patient(raw: object) -> PatientRecord:
    """A record of the active or the archived list. Raises MalformedRecord.

    `raw` is a PlainPatient, or whatever stands in the JSON in place of one.
    """
    if isinstance(raw, PlainPatient):
        return _plain(raw) or _checked(msgspec.to_builtins(raw))
    return _checked(raw)


def parse_tombstone(raw: object) -> PatientRecord:
    """A record of the list of deleted patients. Raises MalformedRecord."""
    if isinstance(raw, PlainPatient):
        raw = msgspec.to_builtins(raw)
    fields = Fields(raw)
    return PatientRecord(fields.id, PatientState.DELETED, deleted_at=fields.moment("deleted_at"))


def _read(raw: object, parse: Callable[[object], PatientRecord]) -> PatientRecord | Malformed:
    try:
        return parse(raw)
    except MalformedRecord as error:  # as a value, for its traceback holds the whole page
        return Malformed(error.cliniko_patient_id, error.field, error.reason)


def _checked(raw: object) -> PatientRecord:
    fields = Fields(raw)
    archived_at, deleted_at = fields.moment("archived_at"), fields.moment("deleted_at")
    merged_at, merged_into = fields.moment("merged_at"), fields.linked_id("merged_with_patient")
    return PatientRecord(
        fields.id,
        _state(archived_at, merged_at or merged_into, deleted_at),
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


def _plain(raw: PlainPatient) -> PatientRecord | None:
    """The record of a patient about whom there is nothing to judge, as there is about hardly any;
    None for the others. It must come to the same as `_checked`, in a quarter of the time."""
    first, last = raw.first_name or "", raw.last_name or ""
    preferred, email = raw.preferred_first_name or "", raw.email or ""
    sent = [(each.phone_type or "", each.number or "") for each in raw.patient_phone_numbers or ()]
    moments = (raw.created_at, raw.updated_at, raw.archived_at, raw.deleted_at, raw.merged_at)
    numbers = "".join(map("".join, sent))  # as they came: strip() takes what is to be refused
    texts = "".join((first, last, preferred, email))
    if (
        raw.merged_with_patient is not None
        or not (raw.id.isascii() and raw.id.isdigit() and len(raw.id) <= MAX_ID)
        # If together they are not too long, none of them is.
        or not (texts.isprintable() and len(texts) <= MAX_EMAIL)
        or not (numbers.isprintable() and len(numbers) <= MAX_PHONE and len(sent) <= MAX_PHONES)
        or not (raw.date_of_birth is None or may_be_born_on(raw.date_of_birth))
        or any(moment is not None and moment.tzinfo is not UTC for moment in moments)
    ):
        return None
    return PatientRecord(
        raw.id,
        _state(raw.archived_at, raw.merged_at, raw.deleted_at),
        first_name=first.strip(),
        last_name=last.strip(),
        preferred_first_name=preferred.strip(),
        email=email.strip(),
        phones=tuple((kind.strip(), number) for kind, text in sent if (number := text.strip())),
        date_of_birth=raw.date_of_birth,
        created_at=raw.created_at,
        updated_at=raw.updated_at,
        archived_at=raw.archived_at,
        deleted_at=raw.deleted_at,
        merged_at=raw.merged_at,
    )


def _state(archived: object, merged: object, deleted: object) -> PatientState:
    if deleted is not None:
        return PatientState.DELETED
    if merged is not None:
        return PatientState.MERGED
    return PatientState.ARCHIVED if archived is not None else PatientState.ACTIVE
