"""One patient as Cliniko holds it: JSON ready to be sent, and the fields that lists look at."""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

# Links are written under this address; whoever sends them puts the caller's address in its place.
HOME = "https://cliniko.invalid/v1"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def in_utc(moment: datetime) -> str:
    """Return a UTC time as Cliniko writes it: whole seconds and a Z."""
    return f"{moment.isoformat()[:19]}Z"


class State(StrEnum):
    ACTIVE = "active"
    ARCHIVED = "archived"
    MERGED = "merged"
    DELETED = "deleted"


class Patient(NamedTuple):
    """One version of a patient. A change puts another version in its place.

    The JSON is kept as bytes, because a page is then a join, and because a hundred thousand
    dictionaries would need several times the memory. A field that is absent, null or no text
    counts as "" in filters and sorts.
    """

    id: int
    state: State
    json: bytes
    created_at: str
    updated_at: str
    archived_at: str
    deleted_at: str
    date_of_birth: str
    email: str
    first_name: str
    last_name: str
    old_reference_id: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Patient":
        """Return the patient for a record as Cliniko's API shows it."""
        texts = (v if isinstance(v := record.get(f), str) else "" for f in cls._fields[3:])
        return cls(int(record["id"]), state_of(record), to_json(record), *texts)

    def record(self) -> dict[str, Any]:
        """Return the whole record as Cliniko's API shows it, with links under HOME."""
        record: dict[str, Any] = json.loads(self.json)
        return record

    def tombstone(self, *, with_id: bool) -> bytes:
        """Return the JSON that /patients/deleted shows of this patient."""
        shown = {"id": self.record()["id"]} if with_id else {}
        links = {"self": f"{HOME}/patients/{self.id}"}
        return to_json(shown | {"deleted_at": self.deleted_at, "links": links})


def state_of(record: Mapping[str, Any]) -> State:
    """Return the state that a record's times say it is in."""
    if record.get("deleted_at"):
        return State.DELETED
    if record.get("merged_at"):
        return State.MERGED
    return State.ARCHIVED if record.get("archived_at") else State.ACTIVE


def merged_into(survivor_id: int | str, at: str) -> dict[str, Any]:
    """Return what changes in a patient who is merged into another: they stand archived."""
    survivor = {"links": {"self": f"{HOME}/patients/{survivor_id}"}}
    return {"archived_at": at, "merged_at": at, "merged_with_patient": survivor}


def to_json(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    text = _encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8; JSON can still carry its escape
        return json.dumps(value).encode()
