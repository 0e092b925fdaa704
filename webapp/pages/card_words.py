"""What the card of a sync says of it beside its percentage. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from webapp.models import OperationType, SyncLog, SyncPhase
from webapp.pages.filters import change_count, operation
from webapp.pages.outcome import Outcome, outcome
from webapp.pages.timeline import PHASES
from webapp.sync.differences import differences
from webapp.sync.recovery import CANCELLED


def headline(log: SyncLog) -> str:
    """How a sync goes, or what came of it. Since when a completed sync of changes has asked, which
    each page tells by its own clock, the template puts behind it."""
    state = outcome(log)
    if state is Outcome.RUNNING:
        return _goes(log)
    if state is Outcome.CANCELLED:
        return "Cancelled; what was stored is kept"
    if state is Outcome.FAILED:
        return "Ended here; what was stored is kept"
    some = f"{log.records_success:,} of {log.records_processed:,}"
    one = log.records_processed == 1
    if log.operation_type == OperationType.RETRY_FAILED:
        return f"{some} {'record' if one else 'records'} could be stored now"
    if state is Outcome.COMPLETED:
        return _has_completed(log)
    if log.progress.get("changed_since"):
        return f"{some} {'patient' if one else 'patients'} who changed could be stored"
    return f"{some} {'patient' if one else 'patients'} could be stored"


def why_cancelled(log: SyncLog) -> str | None:
    """What has cancelled a sync, where it was more than a press of the button: that it was
    cancelled, and what is kept, the headline says."""
    if outcome(log) is not Outcome.CANCELLED or log.error_message == CANCELLED.message:
        return None
    return log.error_message


def is_apart(log: SyncLog) -> bool:
    """Whether both sides are not the same after a sync, for a reason that nobody knows."""
    certificate = log.progress.get("certificate")
    if outcome(log) is not Outcome.COMPLETED or not certificate:
        return False
    return not certificate["in_step"] and not differences(log)


def not_started(asked: OperationType, running: OperationType) -> str:
    """That what was asked for was not begun, because a sync of another kind runs."""
    runs, wanted = operation(running), operation(asked).lower()
    begin = f"{'An' if runs[0] in 'AEIOU' else 'A'} {runs.lower()} is running, so the {wanted}"
    if asked is OperationType.CHANGED_PATIENTS and running is OperationType.FULL_PATIENTS:
        return f"{begin} was not started: a full sync reads what has changed, too."
    return f"{begin} was not started. Start it when this one has ended."


def _goes(log: SyncLog) -> str:
    left, phase = log.progress.get("estimated_remaining"), log.progress.get("phase")
    if log.cancel_requested_at:
        return "Stopping after the page at hand"
    if phase in PHASES and phase != SyncPhase.FETCHING:
        return PHASES[phase]
    if left:
        return f"about {left} left"
    return "Waiting for Cliniko" if phase == SyncPhase.WAITING else PHASES[SyncPhase.FETCHING]


def _has_completed(log: SyncLog) -> str:
    shown, count = log.progress, log.records_success
    were = "patient was" if count == 1 else "patients were"
    if shown.get("changed_since"):
        return _change_words(shown["changes"])
    if log.operation_type == OperationType.ACTIVE_PATIENTS:
        return f"{count:,} active {were} read"
    certificate = shown.get("certificate") or {}
    if not certificate.get("in_step"):
        nobody = "No patient was shown" if shown.get("not_shown") else "No patient in Cliniko"
        return f"{count:,} {were} read" if count else nobody
    if not count:
        # Those who were deleted stay for a while after Cliniko has dropped them from all its lists.
        but = " but deleted ones" if certificate["stored"]["deleted"] else ""
        return f"No patient in Cliniko, and none here{but}"
    return f"All {count:,} patients are in step" if count > 1 else "1 patient is in step"


def _change_words(changes: Mapping[str, int]) -> str:
    """`12 changes`; `Nothing has changed` for none."""
    count = change_count(changes)
    return f"{count:,} change{'s' * (count > 1)}" if count else "Nothing has changed"
