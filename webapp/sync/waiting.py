"""How threads that ask Cliniko wait, and how they are stopped when the sync is over."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from webapp.cliniko.throttle import Waiting, WaitReason
from webapp.clock import now

_WORTH_SAYING_SECONDS = 1.5


class Stopped(Exception):
    """The sync is over for this worker; raised in the threads that still wait or ask."""


class StoppableWaiter:
    """Waits for Cliniko's limit or a retry, tells until when and why, and stops when told to.

    Fulfils `webapp.cliniko.throttle.Waiter`.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._waits: dict[int, Waiting] = {}

    def wait(self, seconds: float, reason: WaitReason) -> None:
        """Wait in a thread that asks Cliniko. Raises Stopped when the sync has ended meanwhile."""
        me = threading.get_ident()
        if seconds >= _WORTH_SAYING_SECONDS:
            self._waits[me] = Waiting(now() + timedelta(seconds=seconds), reason)
        try:
            if self._stop.wait(seconds):
                raise Stopped
        finally:
            self._waits.pop(me, None)

    def stop(self) -> None:
        """End all waiting."""
        self._stop.set()

    def waiting(self, in_flight: int) -> Waiting | None:
        """Until when nothing will happen; None while at least one request is really on its way."""
        waits = list(self._waits.values())
        if not waits or len(waits) < in_flight:
            return None
        soonest = min(waits, key=lambda wait: wait.until)
        # Once Cliniko has refused one request, the others are held as if the minute were used up.
        refused = any(wait.reason is WaitReason.RATE_LIMITED for wait in waits)
        return replace(soonest, reason=WaitReason.RATE_LIMITED) if refused else soonest
