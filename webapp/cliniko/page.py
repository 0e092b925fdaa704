"""One page of a list of patients, taken only if it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from webapp.cliniko.answer import Answer
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.raw import NOT_PLAIN, PlainPatient, RawPatient, object_in


@dataclass(frozen=True)
class Page:
    """One answer of a list: the raw records, how many match in all, and where it goes on."""

    records: list[RawPatient]
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


# With one of these twice, patients could be hidden.
_KEYS_OF_A_LIST = (b'"patients"', b'"total_entries"', b'"next"')
_PIECE = 100  # bytes, enough to find the patients by

_LIST = msgspec.json.Decoder(_List)
_PATIENTS = msgspec.json.Decoder(list[PlainPatient])


def page_in(answer: Answer) -> Page:
    """The page in an answer. A list without its parts is no empty list: taking it for one would
    lose patients. Raises BadResponse, or what the status stands for."""
    body = answer.json_body()
    page = _plain_page(body, answer.served_at) or _any_page(body, answer.served_at)
    if page.total_entries < 0:
        raise _parts_missing()
    return page


def _plain_page(body: bytes, served_at: datetime | None) -> Page | None:
    """The page if it is of the documented form, which nearly all are."""
    try:
        content = _LIST.decode(body)
        patients = _PATIENTS.decode(content.patients)
    except NOT_PLAIN:
        return None
    if _may_hold_doubles(body, content.patients):
        return None
    next_url = content.links.next if content.links else None
    return Page([*patients], content.total_entries, next_url, served_at)


def _any_page(body: bytes, served_at: datetime | None) -> Page:
    content = object_in(body)
    records, total = content.get("patients"), content.get("total_entries")
    links = content.get("links") or {}
    next_url = links.get("next") if isinstance(links, dict) else False
    counted = isinstance(total, int) and not isinstance(total, bool)
    if not isinstance(records, list) or not counted or not isinstance(next_url, str | None):
        raise _parts_missing()
    return Page(records, content["total_entries"], next_url, served_at)


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
