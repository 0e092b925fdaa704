"""Faults in what Cliniko answers."""

import gzip
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from simulator.exchange import Answer, html_answer, json_answer

_MEGABYTE = 1024 * 1024


def status(
    answer: Answer,
    *,
    status: int = 500,
    headers: Mapping[str, str] | None = None,
    json: object = None,
    html: str = "Something went wrong",
) -> Answer:
    """Answer with this status: from 500 on an HTML page, below it or with `json` given JSON."""
    if status == 204:
        return Answer(204, b"", headers=headers or {})
    if json is None and status >= 500:
        return html_answer(html, status=status, headers=headers)
    return json_answer(json or {"message": html}, status=status, headers=headers)


def rate_limited(
    answer: Answer,
    *,
    reset_in_s: float | None = None,
    reset: str | int | None = None,
    retry_after: str | int | None = None,
) -> Answer:
    """Answer 429. Said of the wait: X-RateLimit-Reset so many seconds from now or exactly as given,
    Retry-After exactly as given, or nothing at all."""
    headers = {}
    if reset_in_s is not None:
        headers["X-RateLimit-Reset"] = str(math.ceil(time.time() + reset_in_s))
    if reset is not None:
        headers["X-RateLimit-Reset"] = str(reset)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return json_answer({"message": "Too many requests."}, status=429, headers=headers)


def redirect(answer: Answer, *, to: str, status: int = 302) -> Answer:
    """Send the caller elsewhere."""
    return Answer(status, b"", headers={"Location": to})


def html_200(answer: Answer) -> Answer:
    """Answer with a maintenance page as if all were well."""
    return html_answer("Cliniko is being maintained")


def empty_200(answer: Answer) -> Answer:
    """Answer with nothing as if all were well."""
    return Answer(200, b"")


def truncated_json(answer: Answer) -> Answer:
    """Stop in the middle of the JSON, with a Content-Length that says it is whole."""
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def bom(answer: Answer) -> Answer:
    """Begin with a byte order mark, which JSON must not have."""
    return replace(answer, body=b"\xef\xbb\xbf" + answer.body)


def utf16(answer: Answer) -> Answer:
    """Write in UTF-16, which JSON between systems must not use."""
    return replace(answer, body=answer.body.decode().encode("utf-16"))


def nan(answer: Answer, *, key: str = "total_entries") -> Answer:
    """Hold NaN, which is no JSON."""
    return _edited(answer, lambda page: page | {key: math.nan})


def duplicate_keys(answer: Answer) -> Answer:
    """Say everything twice, the second time as an empty list."""
    return replace(answer, body=answer.body[:-1] + b',"patients":[],"total_entries":0}')


def missing_key(answer: Answer, *, key: str) -> Answer:
    """Leave a key of the page out."""
    return _edited(answer, lambda page: {k: v for k, v in page.items() if k != key})


def replaced_value(answer: Answer, *, key: str, value: object) -> Answer:
    """Put another value under a key of the page."""
    return _edited(answer, lambda page: page | {key: value})


def wrong_total(answer: Answer, *, total: object) -> Answer:
    """Say another number of entries."""
    return replaced_value(answer, key="total_entries", value=total)


def short_page(answer: Answer, *, keep: int = 0) -> Answer:
    """Hold only the first few patients of the page, or none, with its links as they were."""
    return _edited(answer, lambda page: page | {"patients": page["patients"][:keep]})


def foreign_next_link(answer: Answer, *, url: str) -> Answer:
    """Name another address as the next page."""
    return _edited(answer, lambda page: page | {"links": page["links"] | {"next": url}})


def replace_record(answer: Answer, *, record: object, at: int = 0, insert: bool = False) -> Answer:
    """Put any JSON in place of the patient at this place of the page, or before them."""

    def change(page: dict[str, Any]) -> dict[str, Any]:
        page["patients"][at : at if insert else at + 1] = [record]
        return page

    return _edited(answer, change)


def edit_record(answer: Answer, *, fields: dict[str, Any], at: int = 0) -> Answer:
    """Change fields of the patient at this place of the page, for this one answer."""

    def change(page: dict[str, Any]) -> dict[str, Any]:
        page["patients"][at] |= fields
        return page

    return _edited(answer, change)


def big_body(answer: Answer, *, megabytes: int = 200) -> Answer:
    """Say the truth, and then very much white space."""
    return replace(answer, body=answer.body + b" " * (megabytes * _MEGABYTE))


def gzip_bomb(answer: Answer, *, megabytes: int = 1024) -> Answer:
    """Send about a thousandth of what it becomes when unpacked."""
    # A gzip file may have several members, so the same packed megabyte is simply said again.
    bomb = gzip.compress(answer.body) + gzip.compress(b" " * _MEGABYTE) * megabytes
    return replace(answer, body=bomb, headers={"Content-Encoding": "gzip"})


def _edited(answer: Answer, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Answer:
    if answer.status != 200:
        return answer
    # With escapes for all that is not ASCII, so that a lone surrogate can be sent too.
    return replace(answer, body=json.dumps(change(json.loads(answer.body))).encode())
