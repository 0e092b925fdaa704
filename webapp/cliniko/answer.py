"""One answer: read within its size, and taken only if it is what was promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

import requests

from webapp.cliniko.errors import AuthFailed, BadResponse, Forbidden, RateLimited, Unavailable
from webapp.cliniko.throttle import wait_asked
from webapp.outbound.http_times import date_of

MAX_BODY = 20 * 1024 * 1024  # bytes, after decompression
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """What came back: of statuses that say it all the body was not read."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def served_at(self) -> datetime | None:
        """When it was given, by Cliniko's clock."""
        return date_of(self.headers)

    def json_body(self) -> bytes:
        """The body, said to be JSON. Raises what the status stands for, or BadResponse."""
        _check_status(self.status, self.headers)
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise BadResponse("Cliniko sent something that is not JSON. Try again later.")
        return self.body


def body_of(response: requests.Response) -> bytes:
    """The whole body. Raises BadResponse if it is too large, or what `requests` raises."""
    parts: list[bytes] = []
    size = 0
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        size += len(chunk)
        if size > MAX_BODY:
            raise BadResponse("Cliniko sent an answer that is far too large. Try again later.")
        parts.append(chunk)
    return b"".join(parts)


def _check_status(status: int, headers: Mapping[str, str]) -> None:
    """Raise what a status other than 200 stands for."""
    if status == 200:
        return
    if status == 401:
        raise AuthFailed(http_status=status)
    if status == 403:
        raise Forbidden(http_status=status)
    asked = wait_asked(headers, now=datetime.now(UTC))
    seconds = None if asked is None else ceil(asked)
    if status == 429:
        raise RateLimited(http_status=status, retry_after=seconds)
    if status >= 500:
        raise Unavailable(http_status=status, retry_after=seconds if status == 503 else None)
    if status < 300:
        raise BadResponse  # an empty answer, perhaps; without its status it is asked for again
    raise BadResponse(
        f"Cliniko answered with the unexpected status {status}. Try again later.",
        http_status=status,
    )
