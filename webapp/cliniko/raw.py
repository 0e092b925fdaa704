"""The JSON of patients, taken apart: only what is kept is read, and hardly anything judged yet."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

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


# A patient in the documented form, an object of any other, or something that is no object.
RawPatient = PlainPatient | dict[str, Any] | None

_PLAIN = msgspec.json.Decoder(PlainPatient)
_FIELDS = frozenset(PlainPatient.__struct_fields__) | {"links"}


def raw_patient(text: msgspec.Raw) -> RawPatient:
    """One patient, still unchecked.

    Raises BadResponse for what is no JSON. Half a character in one name is no reason to refuse a
    whole page: what the quick decoder does not take, the tolerant one reads, for `parse_patient`
    to tell what is wrong.
    """
    try:
        return _PLAIN.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        content = json.loads(bytes(text))
    except (ValueError, RecursionError) as error:
        raise BadResponse("Cliniko sent a patient that cannot be read. Try again later.") from error
    if not isinstance(content, dict):
        return None
    return {key: value for key, value in content.items() if key in _FIELDS}
