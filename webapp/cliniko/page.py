"""One page of a list of patients, taken only if it is whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from webapp.cliniko.answer import Answer
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.raw import NOT_PLAIN, PlainPatient, object_in
from webapp.cliniko.records import Malformed, PatientRecord


@dataclass(frozen=True)
class Page:
    """One answer of a list: its records, how many match in all, and where it goes on."""

    records: list[PatientRecord | Malformed]
    total_entries: int
    next_url: str | None
    served_at: datetime | None  # by Cliniko's clock


class _Links(msgspec.Struct):
    next: str | None = None


class _List(msgspec.Struct):
    """What is read of a list. Its patients are taken apart later."""

    patients: msgspec.Raw
    total_entries: int
    links: _Links | None = None


# The raw records, how many there are in all, and the link to the next page.
_Parts = tuple[Sequence[Any], int, str | None]

# With one of these twice, patients could be hidden.
_KEYS_OF_A_LIST = (b'"patients"', b'"total_entries"', b'"next"')
_MOST = 10_000_000  # patients; the time and the pages that a sync needs are reckoned from it
_PIECE = 100  # bytes, enough to find the patients by

_LIST = msgspec.json.Decoder(_List)
_PATIENTS = msgspec.json.Decoder(list[PlainPatient])


def page_in(answer: Answer, read: Callable[[object], PatientRecord | Malformed]) -> Page:
    """The page in an answer, each record taken by `read`. A list without its parts is no empty
    list: taking it for one would lose patients. Raises BadResponse, or what the status stands for.
    """
    body = answer.json_body()
    raw, total, next_url = _plain_parts(body) or _any_parts(body)
    if total < 0:
        raise _parts_missing()
    if total > _MOST:
        raise BadResponse("Cliniko counts more patients than any clinic has. Try again later.")
    return Page([read(each) for each in raw], total, next_url, answer.served_at)


def _plain_parts(body: bytes) -> _Parts | None:
    """The parts of a page of the documented form, which nearly all are of."""
    try:
        content = _LIST.decode(body)
        patients = _PATIENTS.decode(content.patients)
    except NOT_PLAIN:
        return None
    if _may_hold_doubles(body, content.patients):
        return None
    next_url = content.links.next if content.links else None
    return patients, content.total_entries, next_url


def _any_parts(body: bytes) -> _Parts:
    content = object_in(body)
    records, total = content.get("patients"), content.get("total_entries")
    links = content.get("links") or {}
    next_url = links.get("next") if isinstance(links, dict) else False
    counted = isinstance(total, int) and not isinstance(total, bool)
    if not isinstance(records, list) or not counted or not isinstance(next_url, str | None):
        raise _parts_missing()
    return records, content["total_entries"], next_url


def _parts_missing() -> BadResponse:
    return BadResponse("Cliniko sent a list of patients with parts missing. Try again later.")


def _may_hold_doubles(body: bytes, patients: msgspec.Raw) -> bool:
    """Whether a key of the list may stand there twice, going by what is around the patients."""
    array = memoryview(patients)
    begin = body.find(array[:_PIECE])
    end = begin + len(array)
    around = body[:begin] + body[end:]
    found = memoryview(body)[begin:end] == array
    return not found or any(around.count(key) > 1 for key in _KEYS_OF_A_LIST)
