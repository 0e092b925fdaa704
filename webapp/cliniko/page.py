"""One page of a list of patients, taken only if it is whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import msgspec

from webapp.cliniko.answer import Answer, unreadable
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.raw import PlainPatient, RawPatient, raw_patient


class _ListLinks(msgspec.Struct):
    next: str | None = None


class _List(msgspec.Struct):
    """What is read of a list at first. A patient who is malformed must not spoil the page."""

    patients: msgspec.Raw
    total_entries: int
    links: _ListLinks | None = None


# Which of two such keys would count is not for us to guess; as values these words are harmless.
_KEYS_OF_A_LIST = (b'"patients"', b'"total_entries"', b'"next"')
_PIECE = 100  # bytes, enough to find the patients by

_LIST = msgspec.json.Decoder(_List)
_PLAIN_PATIENTS = msgspec.json.Decoder(list[PlainPatient])
_PATIENTS = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True)
class Page:
    """One answer of a list: the raw records, how many match in all, and where it goes on."""

    records: list[RawPatient]
    total_entries: int
    next_url: str | None
    served_at: datetime | None  # by Cliniko's clock


def page_in(answer: Answer) -> Page:
    """A list without its parts is no empty list: taking it for one would lose patients."""
    content = answer.content(_LIST)
    if _holds_doubles(answer.body, content.patients):
        raise unreadable()
    if content.total_entries < 0:
        raise BadResponse("Cliniko sent a list of patients with parts missing. Try again later.")
    next_url = content.links.next if content.links else None
    return Page(_patients_in(content.patients), content.total_entries, next_url, answer.served_at)


def _patients_in(text: msgspec.Raw) -> list[RawPatient]:
    try:
        return [*_PLAIN_PATIENTS.decode(text)]
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass  # one at a time
    try:
        texts = _PATIENTS.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise unreadable() from error
    return [raw_patient(each) for each in texts]


def _holds_doubles(body: bytes, patients: msgspec.Raw) -> bool:
    """Whether a key stands twice in one object, looked for thoroughly only where it may be."""
    array = memoryview(patients)
    begin = body.find(array[:_PIECE])
    end = begin + len(array)
    around = body[:begin] + body[end:]
    if memoryview(body)[begin:end] == array and all(
        around.count(key) <= 1 for key in _KEYS_OF_A_LIST
    ):
        return False
    try:
        json.loads(body, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        return True
    return False


def _distinct(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError
