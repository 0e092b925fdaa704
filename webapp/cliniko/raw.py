"""The JSON of one patient, taken apart: only what is kept is read, and nothing is judged yet."""

from __future__ import annotations

import json
from typing import Any, TypedDict

import msgspec

from webapp.cliniko.errors import BadResponse


class _RawPhone(TypedDict, total=False):
    phone_type: Any
    number: Any


class RawPatient(TypedDict, total=False):
    """What is read of a patient in Cliniko's JSON; of whatever form, for that is checked later."""

    id: Any
    links: Any
    first_name: Any
    last_name: Any
    preferred_first_name: Any
    email: Any
    patient_phone_numbers: list[_RawPhone] | None
    date_of_birth: Any
    created_at: Any
    updated_at: Any
    archived_at: Any
    deleted_at: Any
    merged_at: Any
    merged_with_patient: Any


_PATIENT = msgspec.json.Decoder(RawPatient)


def raw_patient(text: msgspec.Raw) -> RawPatient | None:
    """One patient of a list, still unchecked; None for what is no JSON object.

    Raises BadResponse for what is no JSON. Half a character in one name is no reason to refuse a
    whole page: what the quick decoder does not read, the tolerant one does, for `parse_patient` to
    tell what is wrong.
    """
    try:
        return _PATIENT.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        content = json.loads(bytes(text))
    except (ValueError, RecursionError) as error:
        raise BadResponse("Cliniko sent a patient that cannot be read. Try again later.") from error
    if not isinstance(content, dict):
        return None
    return {key: content[key] for key in RawPatient.__annotations__ if key in content}  # type: ignore[return-value]
