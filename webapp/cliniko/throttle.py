"""When to ask again: Cliniko's own word for it, our budget, and patience that grows."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from webapp.outbound.http_times import date_of, retry_after

SHORTEST_WAIT = 1.0  # seconds
LONGEST_WAIT = 120.0
_RATE_LIMIT_WAITS = (5.0, 10.0, 20.0, 40.0, 60.0)


class WaitReason(StrEnum):
    """Why nothing is asked for a while."""

    BUDGET = "budget"
    RATE_LIMITED = "rate_limited"
    RETRY = "retry"


@dataclass(frozen=True)
class Waiting:
    """Nothing is asked before that moment, and why."""

    until: datetime
    reason: WaitReason


class Budget(Protocol):
    """What is left of Cliniko's minute for one of its users."""

    def acquire(self) -> float:
        """0.0: a request may go now and was counted. Else the seconds until to ask again."""

    def hold(self, seconds: float) -> None:
        """Cliniko has refused: nobody with this key goes before that."""


class Waiter(Protocol):
    """How time passes; it may raise to end everything."""

    def wait(self, seconds: float, reason: WaitReason) -> None:
        """Return after so many seconds."""


class SleepingWaiter:
    """Waits by sleeping."""

    def wait(self, seconds: float, reason: WaitReason) -> None:
        """Sleep so long."""
        time.sleep(seconds)


@dataclass(frozen=True)
class RetryPolicy:
    """How long one request may take and how often it is tried. Times are in seconds.

    Cliniko gives up on a query after 30 seconds by itself, so a read time-out below 35 would cut
    off good answers. `wait_limit` is for all waiting that Cliniko's limit asks of one request.
    """

    tries: int = 5
    bad_response_tries: int = 3
    wait_limit: float = 600.0
    connect_timeout: float = 5.0
    read_timeout: float = 35.0
    total_timeout: float = 40.0


FOR_SYNCS = RetryPolicy()

# For a connection test: somebody is watching.
FOR_PEOPLE = RetryPolicy(
    tries=1,
    bad_response_tries=1,
    wait_limit=0.0,
    connect_timeout=3.0,
    read_timeout=5.0,
    total_timeout=5.0,
)


def wait_asked(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """The seconds that an answer asks us to wait, within reason; None if it asks for none.

    `X-RateLimit-Reset` is a Unix time by Cliniko's clock, so it is compared with the answer's own
    `Date`. Nonsense counts as the shortest or the longest wait, whichever is nearer.
    """
    seconds = _until_reset(headers, now)
    if seconds is None:
        seconds = retry_after(headers, now)
    return None if seconds is None else min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def backoff(attempt: int) -> float:
    """1, 2, 4, 8, 16 seconds before the tries that follow, give or take a fifth."""
    return float(2 ** min(attempt, 4)) * random.uniform(0.8, 1.2)


def rate_limit_backoff(attempt: int) -> float:
    """5, 10, 20, 40, 60 seconds where Cliniko does not say how long to wait."""
    return _RATE_LIMIT_WAITS[min(attempt, 4)] * random.uniform(0.9, 1.1)


def _until_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    text = headers.get("X-RateLimit-Reset", "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    return float(text) - (date_of(headers) or now).timestamp()
