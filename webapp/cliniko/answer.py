"""Reading one answer: within its time, within its size, and only if it is what was promised."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Set
from functools import partial
from typing import Any, NoReturn

import requests

from webapp.cliniko.errors import BadResponse, TimedOut

MAX_BODY = 20 * 1024 * 1024  # bytes, after decompression
_CHUNK = 64 * 1024


def body_of(response: requests.Response, *, deadline: float) -> bytes:
    """The whole body. `deadline` is a time of `time.monotonic`: an answer that comes in drops never
    runs into a read time-out. Raises TimedOut or BadResponse, or what `requests` raises."""
    parts: list[bytes] = []
    size = 0
    # One read of the socket at a time: to fill a chunk with drops would take for ever.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        size += len(chunk)
        if size > MAX_BODY:
            raise BadResponse("Cliniko sent an answer that is far too large.")
        if time.monotonic() > deadline:
            raise TimedOut
        parts.append(chunk)
    return b"".join(parts)


def object_in(body: bytes, headers: Mapping[str, str], *, keep: Set[str]) -> dict[str, Any]:
    """The JSON object in a body, and of every object in it only the keys to keep.

    Notes and the like end here, before they are held in memory beside a hundred others. Raises
    BadResponse for anything that is no JSON object, ambiguous JSON included.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadResponse("Cliniko sent something that is not JSON. Try again later.")
    try:
        content = json.loads(
            body.decode("utf-8"),
            parse_constant=_no_number,
            object_pairs_hook=partial(_distinct, keep),
        )
    except (ValueError, RecursionError) as error:
        raise BadResponse("Cliniko sent JSON that cannot be read. Try again later.") from error
    if not isinstance(content, dict):
        raise BadResponse
    return content


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _distinct(keep: Set[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return {key: value for key, value in pairs if key in keep}
