"""The process that does one job, and the job as it gets it."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Any

from rq.job import Job

from webapp.services import sealing, time_zones
from webapp.services.sealing import Purpose

_PR_SET_PDEATHSIG = 1
_M_ARENA_MAX = -8
_M_MMAP_THRESHOLD = -3
_M_TRIM_THRESHOLD = -1


class PlainJob(Job):
    """A job that brings nothing but its function: RQ would also import and call what a job names
    as its callbacks, and ask addresses that it names."""

    def restore(self, raw_data: Any) -> Any:
        """The job as Redis has it, without what it wants done beside."""
        restored = super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = None
        self._stopped_callback_name = None
        self.webhooks = []
        return restored


def make_ready() -> None:
    """Before the fork: what every work-horse would make anew: ciphers, a megabyte of them, and the
    list of time zones, which takes twenty milliseconds."""
    sealing.unseal(Purpose.QUERY, 0, sealing.seal(Purpose.QUERY, 0, ""))
    time_zones.choices()


def use_memory_sparingly() -> None:
    """Keep glibc from giving each thread a heap of its own, and from keeping what pages needed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, 64 * 1024)
        mallopt(_M_TRIM_THRESHOLD, 128 * 1024)


def die_with_parent() -> None:
    """Linux only; elsewhere an orphan finds its lease lost at the next write and ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
