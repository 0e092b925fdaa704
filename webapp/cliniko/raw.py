"""The JSON of patients, taken apart: only what is kept is read, and hardly anything judged yet.

There is a quick way for what Cliniko documents, and a tolerant one for everything else: half a
character in the notes of one patient is no reason to refuse a whole page.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any, NoReturn

import msgspec

from webapp.cliniko.errors import BadResponse


class PlainPhone(msgspec.Struct, gc=False):
    """A phone number as Cliniko documents it."""

    phone_type: str | None = None
    number: str | None = None


class PlainPatient(msgspec.Struct, gc=False):
    """What is kept of a patient, in the form that Cliniko documents."""

    id: str
    first_name: str | None = None
    last_name: str | None = None
    preferred_first_name: str | None = None
    email: str | None = None
    patient_phone_numbers: list[PlainPhone] | None = None
    date_of_birth: date | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    archived_at: datetime | None = None
    deleted_at: datetime | None = None
    merged_at: datetime | None = None
    merged_with_patient: Any = None


# A patient in the documented form, or whatever else stands in the place of one.
RawPatient = PlainPatient | Any

# What the quick decoders raise; a text that is not UTF-8 is a ValueError.
NOT_PLAIN = (msgspec.DecodeError, ValueError, RecursionError)

_PLAIN = msgspec.json.Decoder(PlainPatient)
_FIELDS = {*PlainPatient.__struct_fields__, *PlainPhone.__struct_fields__, "links", "self"}
_FIELDS |= {"patients", "total_entries", "next", "account", "name", "subdomain", "country"}
_FIELDS |= {"time_zone"}


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object in this body; of it and of every object in it only the fields that we read.

    Ten times as slow as the quick decoders. Raises BadResponse for anything else, and for an object
    in which a key stands twice: which one counts is not for us to guess.
    """
    try:
        content = json.loads(body.decode(), parse_constant=_no_number, object_pairs_hook=_fields_in)
    except (ValueError, RecursionError) as error:
        raise BadResponse("Cliniko sent JSON that cannot be read. Try again later.") from error
    if not isinstance(content, dict):
        raise BadResponse
    return content


def patient_in(body: bytes) -> RawPatient:
    """The one patient in this body, still unchecked. Raises BadResponse for what is no object."""
    try:
        return _PLAIN.decode(body)
    except NOT_PLAIN:
        return object_in(body)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _fields_in(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return {key: value for key, value in pairs if key in _FIELDS}
