"""When an attempt at a sync will have read everything, by what is known of how its answers come."""

from __future__ import annotations

from math import ceil
from time import monotonic

from webapp.cliniko.throttle import Waiting, WaitReason
from webapp.clock import now
from webapp.sync.progress import Progress
from webapp.sync.reader import REQUESTS_AT_ONCE


class Estimate:
    """The time that is left. Its clock runs from the first question on, for what was asked together
    comes together: between two answers next to no time may pass."""

    def __init__(self, processed_before: int) -> None:
        self._before = processed_before  # by earlier attempts
        self._asked_at = monotonic()
        self._first: tuple[int, float] | None = None  # so many records after so many seconds
        self._refused_at: float | None = None  # when all requests were seen to be held last

    def not_asked_yet(self) -> None:
        """Until now nothing was asked: the time so far is none that Cliniko has taken."""
        if self._first is None:
            self._asked_at = monotonic()

    def idle(self, waiting: Waiting | None) -> None:
        """Nothing has come for a moment: because of what all requests wait for, if they do. Time in
        which Cliniko wants no requests tells nothing of how long it takes for one."""
        if waiting is not None:
            self.not_asked_yet()
        moment, refused = monotonic(), is_refused(waiting)
        if refused and self._refused_at is not None and self._first is not None:
            self._asked_at += moment - self._refused_at
        self._refused_at = moment if refused else None

    def remaining(
        self, progress: Progress, waiting: Waiting | None, *, requests_left: int, per_minute: int
    ) -> float | None:
        """Seconds until the end, with what all requests wait for and the waiting that Cliniko's
        limit forces; `requests_left` of its minute may still go at once. None until the first
        records have come, for no rate is known before; and, if nothing is waited for, once all that
        were promised have: nobody knows how much has changed meanwhile."""
        seconds = self._reading(progress, requests_left, per_minute)
        if waiting is None or self._first is None:
            return seconds
        left, wait = seconds or 0.0, (waiting.until - now()).total_seconds()
        return left + wait if is_refused(waiting) else max(left, wait)

    def _reading(self, progress: Progress, requests_left: int, per_minute: int) -> float | None:
        elapsed = monotonic() - self._asked_at
        processed = progress.success + progress.failed - self._before
        left = progress.found - self._before - processed
        if processed <= 0 or elapsed <= 0 or left <= 0:
            return None
        self._first = self._first or (processed, elapsed)
        return remaining_seconds(
            processed=processed,
            left=left,
            elapsed=elapsed,
            first=self._first,
            pages_left=max(0, progress.total_pages - progress.current_page),
            requests_left=requests_left,
            per_minute=per_minute,
        )


def is_refused(waiting: Waiting | None) -> bool:
    """Whether Cliniko itself holds all requests up, by a refusal or by trouble. What its limit
    makes us wait is known before, and part of `remaining`."""
    return waiting is not None and waiting.reason is not WaitReason.BUDGET


def remaining_seconds(
    *,
    processed: int,
    left: int,
    elapsed: float,
    first: tuple[int, float],
    pages_left: int,
    requests_left: int,
    per_minute: int,
) -> float:
    """Seconds until the end, at the rate so far. Pure.

    `processed` records came in `elapsed` seconds; `first`: how many came together as the first, and
    after how many seconds. Until others come there is no rate: each round of REQUESTS_AT_ONCE pages
    is taken to last as long as the first, or as the one under way does already, if that is longer.
    """
    first_records, first_after = first
    if processed > first_records:
        seconds = left * elapsed / processed
    else:
        under_way = elapsed - first_after
        rounds = ceil(pages_left / REQUESTS_AT_ONCE)
        seconds = rounds * max(first_after, under_way) - under_way
    beyond = max(0, pages_left - requests_left)
    return max(seconds, beyond / per_minute * 60, 0.0)
