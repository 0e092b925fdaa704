"""The line to a receiver: one message sent, and one of few outcomes, in the time allowed.

What the receiver says beyond its status is not kept: nobody may read through us what an address of
theirs leads to.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
)

from webapp.clock import now
from webapp.errors import ValidationError
from webapp.outbound.deadline import DirectSession, TimelyAdapter, answer_by
from webapp.outbound.http_times import retry_after
from webapp.services.webhooks import addresses

CONNECT_SECONDS = 5.0  # for the last address of a name
LEAST_SECONDS = 2.0  # for each before it: a packet that is lost is sent again after one
TOTAL_SECONDS = 15.0
MOST_READ = 4 * 1024  # bytes of the answer, so that a polite receiver is not cut off
GONE = 410
_MOST_ASKED = 1e9  # seconds: what nobody waits for, and a timedelta still holds

_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "PatientSync-Webhooks/1",
    "Accept-Encoding": "identity",
}


class Problem(StrEnum):
    """Why a try had no status, or could have none."""

    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    UNKNOWN_NAME = "unknown_name"
    INSECURE = "insecure"  # no TLS, or a certificate that does not hold
    NOT_PUBLIC = "not_public"
    NOT_ALLOWED = "not_allowed"  # the settings have changed since the address was saved
    SECRET_UNREADABLE = "secret_unreadable"


@dataclass(frozen=True)
class Outcome:
    """What came of a try: a status or a problem, and how long it took."""

    status: int | None = None
    problem: Problem | None = None
    milliseconds: int = 0
    asked: timedelta | None = None  # in how long the receiver wants to be asked again

    @property
    def is_delivered(self) -> bool:
        """Only the statuses from 200 to 299 say so; a redirect is not followed, and a failure."""
        return self.status is not None and 200 <= self.status < 300


_TROUBLE = (
    *(addresses.NotPublic, ValidationError),
    *(requests.RequestException, HTTPError, OSError, ValueError),
)
_MEANINGS: tuple[tuple[type[Exception], Problem], ...] = (
    (addresses.NotPublic, Problem.NOT_PUBLIC),
    (ValidationError, Problem.NOT_ALLOWED),
    (socket.gaierror, Problem.UNKNOWN_NAME),
    (requests.exceptions.SSLError, Problem.INSECURE),
    (requests.exceptions.Timeout, Problem.TIMED_OUT),
    (TimeoutError, Problem.TIMED_OUT),
)


class _Pinned(TimelyAdapter):
    """Connects to this address and no other, under the name that led to it."""

    ip: addresses.Ip

    def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> Any:
        place, pool = super().build_connection_pool_key_attributes(*args, **options)
        name = place["host"]
        place["host"] = f"[{self.ip}]" if self.ip.version == 6 else str(self.ip)
        if place["scheme"] == "https":
            return place, {**pool, "assert_hostname": name, "server_hostname": name}
        return place, pool


def post(address: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """Send a message once. Raises nothing: whatever goes wrong is an outcome."""
    begun = time.monotonic()
    answer_by.set(begun + TOTAL_SECONDS)
    try:
        with DirectSession() as session, _sent(session, address, body, headers) as response:
            taken = _since(begun)
            with suppress(requests.RequestException, HTTPError, OSError):
                response.raw.read(MOST_READ)
            return Outcome(response.status_code, None, taken, _asked(response.headers))
    except _TROUBLE as error:
        problem = next((each for kind, each in _MEANINGS if isinstance(error, kind)), None)
        return Outcome(None, problem or Problem.UNREACHABLE, _since(begun))


def _sent(
    session: requests.Session, address: str, body: bytes, headers: Mapping[str, str]
) -> requests.Response:
    """The answer of the first address of the name to which a connection comes about.

    The name is looked up this once, and all that it leads to is checked before anything is called.
    """
    addresses.checked(address)
    parts = urlsplit(address)
    places = addresses.where_it_leads(parts.hostname or "")
    session.adapters.clear()
    adapter = _Pinned()
    session.mount(f"{parts.scheme}://", adapter)
    for left, adapter.ip in zip(range(len(places), 0, -1), places, strict=True):
        wait = answer_by.get() - time.monotonic()
        if wait <= 0:
            break
        share = min(wait, max(CONNECT_SECONDS / left, LEAST_SECONDS))
        try:
            return session.post(
                address,
                data=body,
                headers={**_HEADERS, **headers, "Host": parts.netloc},
                timeout=(share, TOTAL_SECONDS),
                allow_redirects=False,
                stream=True,
            )
        except requests.ConnectionError as error:
            if left == 1 or not _met_nobody(error):
                raise
    raise TimeoutError("no address of the name has answered in time")


def _met_nobody(error: requests.ConnectionError) -> bool:
    """Whether no connection came about, so that nothing was sent that may not be sent twice."""
    cause = error.args[0] if error.args else None
    no_connection = (ConnectTimeoutError, NewConnectionError)
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, no_connection)


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


def _asked(headers: Mapping[str, str]) -> timedelta | None:
    seconds = retry_after(headers, now())
    return None if seconds is None else timedelta(seconds=min(seconds, _MOST_ASKED))
