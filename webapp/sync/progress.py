"""How far a sync is, in the numbers and words of the API. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import floor

from webapp.cliniko.errors import BadResponse
from webapp.cliniko.throttle import Waiting
from webapp.clock import iso
from webapp.durations import remaining_words
from webapp.models import OperationType, SyncLog, SyncMetadata, SyncPhase
from webapp.sync.changes import ChangeCounts

NOT_DONE = 99.9
_MANY = 20
# What these read has failed before, or is little: neither tells of the form of all records.
_OF_FEW = (OperationType.RETRY_FAILED, OperationType.CHANGED_PATIENTS)
# What is true only while somebody works on a sync.
_NOT_ANY_MORE: SyncMetadata = {
    "estimated_remaining": None,
    "estimated_remaining_seconds": None,
    "waiting_until": None,
    "waiting_for": None,
    "requests_left": None,
}


@dataclass(frozen=True)
class Progress:
    """One moment of a sync. `found` counts every record of every listing the sync reads."""

    sync_type: OperationType
    phase: SyncPhase = SyncPhase.QUEUED
    found: int = 0
    active_found: int | None = None
    living_found: int = 0  # in the lists of living patients that the sync reads
    changed_since: datetime | None = None  # of a sync of what changed
    success: int = 0
    failed: int = 0
    current_page: int = 0
    total_pages: int = 0
    requests_made: int = 0
    requests_left: int | None = None  # of Cliniko's minute, for whoever shares the key
    percent: float = 0.0
    remaining_seconds: float | None = None
    waiting: Waiting | None = None
    entered_after: Mapping[str, float] = field(default_factory=dict)  # seconds, by phase
    changes: ChangeCounts = field(default_factory=ChangeCounts)

    @classmethod
    def so_far(cls, sync_log: SyncLog) -> Progress:
        """Where an attempt begins that picks this sync up."""
        shown, checkpoint = sync_log.progress, sync_log.checkpoint or {}
        since = shown.get("changed_since")
        return cls(
            OperationType(sync_log.operation_type),
            SyncPhase.CONNECTING,
            found=int(checkpoint.get("found", 0)),
            active_found=checkpoint.get("active_found"),
            living_found=int(checkpoint.get("living_found", 0)),
            changed_since=datetime.fromisoformat(since) if since else None,
            success=sync_log.records_success,
            failed=sync_log.records_failed,
            current_page=shown.get("current_page", 0),
            total_pages=shown.get("total_pages", 0),
            percent=sync_log.percent,
            entered_after=shown.get("phases_entered_after", {}),
            changes=ChangeCounts.from_json(checkpoint.get("changes")),
        )

    def entering(self, phase: SyncPhase, seconds: float) -> Progress:
        """The sync in this phase, so many seconds after its start; a sync that was taken over
        entered it when it did so first."""
        # Clocks of several machines differ a little; no phase begins before the one before it.
        after = max([round(seconds, 1), *self.entered_after.values(), 0.0])
        entered = {str(phase): after, **self.entered_after}
        return replace(self, phase=phase, entered_after=entered)

    def refuse_another_form(self) -> None:
        """Raises BadResponse if half of a clinic's records or more have failed, of so many that it
        is not the records' fault. The first ones are no measure: those of an old import may be
        worse than all others."""
        processed = self.success + self.failed
        if self.sync_type in _OF_FEW or processed < _MANY:
            return
        if self.failed * 2 >= max(processed, self.living_found):
            raise BadResponse(
                "Half of the patient records from Cliniko or more could not be read, so their form "
                "seems to have changed. Nothing was marked deleted. See the failed records."
            )

    def finished(self) -> Progress:
        """The sync as completed: what was found is what was processed."""
        return replace(
            self,
            phase=SyncPhase.FINISHED,
            found=self.success + self.failed,
            percent=100.0,
            total_pages=self.current_page,
            remaining_seconds=None,
            requests_left=None,
        )

    def metadata(self) -> SyncMetadata:
        """The `metadata` object of a sync log."""
        seconds = self.remaining_seconds
        return {
            "patients_found": self.found,
            "patients_stored": self.success,
            "sync_type": str(self.sync_type),
            "current_page": self.current_page,
            "total_pages": self.total_pages,
            "progress_percent": self.percent,
            "estimated_remaining": None if seconds is None else remaining_words(seconds),
            "estimated_remaining_seconds": None if seconds is None else max(1, round(seconds)),
            "phase": str(self.phase),
            "waiting_until": None if self.waiting is None else iso(self.waiting.until),
            "waiting_for": None if self.waiting is None else str(self.waiting.reason),
            "active_found": self.active_found,
            "changed_since": None if self.changed_since is None else iso(self.changed_since),
            "changes": self.changes.to_json(),
            "requests_made": self.requests_made,
            "requests_left": self.requests_left,
            "phases_entered_after": dict(self.entered_after),
        }


def left_alone(told: SyncMetadata, phase: SyncPhase) -> SyncMetadata:
    """What was told of a sync, as it is once nobody works on it any more."""
    return {**told, **_NOT_ANY_MORE, "phase": str(phase)}


def percent(processed: int, found: int, *, before: float) -> float:
    """Percent done of a sync that still runs: one decimal, never falling, from 0.1 once a record
    was processed (documented clients take 0 for absent) and at most 99.9."""
    if found <= 0 or processed <= 0:
        return before
    exact = floor(processed / found * 1000 + 0.5) / 10
    return max(before, 0.1, min(exact, NOT_DONE))
