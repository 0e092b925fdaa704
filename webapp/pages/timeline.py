"""The phases of a sync one after the other, each as wide as it was long. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webapp.models import SyncLog, SyncPhase

WIDTH = 100.0
PHASES: dict[str, str] = {
    SyncPhase.QUEUED: "Waiting for a worker",
    SyncPhase.CONNECTING: "Connecting to Cliniko",
    SyncPhase.FETCHING: "Reading patients",
    SyncPhase.RECONCILING: "Checking that nobody is missing",
}


@dataclass(frozen=True)
class Stretch:
    """One phase; `x` and `width` are percent of the whole."""

    phase: str
    words: str
    seconds: float
    x: float
    width: float


def timeline(log: SyncLog) -> Sequence[Stretch]:
    """The phases that a sync has gone through, the one at hand included; none of a sync that was
    never begun, or that is from before phases were written down."""
    entered = log.progress.get("phases_entered_after")
    if not entered:
        return []
    begins = {phase: float(entered[phase]) for phase in PHASES if phase in entered}
    begins = {SyncPhase.QUEUED: 0.0, **begins}
    whole = max(log.seconds_so_far, *begins.values()) or 1.0
    ends = [*list(begins.values())[1:], whole]
    share = WIDTH / whole
    return [
        Stretch(phase, PHASES[phase], end - begin, begin * share, (end - begin) * share)
        for (phase, begin), end in zip(begins.items(), ends, strict=True)
    ]
