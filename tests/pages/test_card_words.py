"""What the card of a sync says of it, in every state"""

from __future__ import annotations

from typing import Any

import pytest

from webapp.clock import iso, now
from webapp.models import OperationType, SyncLog, SyncStatus
from webapp.pages.card_words import headline, is_apart, not_started

NOTHING_CHANGED: dict[str, Any] = dict.fromkeys(
    ("added", "updated", "archived", "merged", "deleted", "restored"), 0
)
CHANGED: dict[str, Any] = {"changed_since": iso(now()), "changes": NOTHING_CHANGED | {"updated": 2}}
IN_STEP: dict[str, Any] = {"certificate": {"in_step": True, "stored": {"deleted": 0}}}
SOME_DELETED: dict[str, Any] = {"certificate": {"in_step": True, "stored": {"deleted": 3}}}
APART: dict[str, Any] = {"certificate": {"in_step": False}}
NOT_SHOWN: dict[str, Any] = APART | {"not_shown": 1}
RETRY, ACTIVE = OperationType.RETRY_FAILED, OperationType.ACTIVE_PATIENTS
CHANGES, FULL = OperationType.CHANGED_PATIENTS, OperationType.FULL_PATIENTS


def a_log(
    status: SyncStatus = SyncStatus.COMPLETED,
    stored: int = 0,
    failed: int = 0,
    *,
    reads: OperationType = OperationType.FULL_PATIENTS,
    error_code: str | None = None,
    cancelling: bool = False,
    **progress: Any,
) -> SyncLog:
    return SyncLog(
        status=status,
        operation_type=reads,
        records_success=stored,
        records_failed=failed,
        error_code=error_code,
        cancel_requested_at=now() if cancelling else None,
        progress=progress,
    )


def running(**values: Any) -> SyncLog:
    return a_log(SyncStatus.RUNNING, 12, **values)


def failed(error_code: str) -> SyncLog:
    return a_log(SyncStatus.FAILED, 12, error_code=error_code)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (running(), "Reading patients"),
        (running(phase="fetching", estimated_remaining="45 seconds"), "about 45 seconds left"),
        (running(phase="waiting"), "Waiting for Cliniko"),
        (running(phase="waiting", estimated_remaining="45 seconds"), "about 45 seconds left"),
        (running(phase="queued", estimated_remaining="2 minutes"), "Waiting for a worker"),
        (running(phase="connecting"), "Connecting to Cliniko"),
        (running(phase="reconciling"), "Checking that nobody is missing"),
        (running(phase="queued", cancelling=True), "Stopping after the page at hand"),
        (running(reads=RETRY), "Reading patients"),
        (failed("SYNC_CANCELLED"), "Cancelled; what was stored is kept"),
        (failed("CLINIKO_FORBIDDEN"), "Ended here; what was stored is kept"),
        (a_log(stored=1200, reads=RETRY), "1,200 of 1,200 records could be stored now"),
        (a_log(failed=1, reads=RETRY), "0 of 1 record could be stored now"),
        (a_log(stored=1, failed=2, reads=RETRY), "1 of 3 records could be stored now"),
        (a_log(stored=2, reads=CHANGES, **CHANGED), "2 changes"),
        (
            a_log(reads=CHANGES, changed_since=iso(now()), changes=NOTHING_CHANGED),
            "Nothing has changed",
        ),
        (
            a_log(stored=1, failed=1, reads=CHANGES, **CHANGED),
            "1 of 2 patients who changed could be stored",
        ),
        (
            a_log(failed=1, reads=CHANGES, **CHANGED),
            "0 of 1 patient who changed could be stored",
        ),
        (a_log(failed=1, **APART), "0 of 1 patient could be stored"),
        (a_log(stored=646, failed=2, **APART), "646 of 648 patients could be stored"),
        (a_log(stored=1, reads=ACTIVE), "1 active patient was read"),
        (a_log(stored=1200, reads=ACTIVE), "1,200 active patients were read"),
        (a_log(stored=648, **APART), "648 patients were read"),
        (a_log(stored=1, **APART), "1 patient was read"),
        (a_log(stored=647, **NOT_SHOWN), "647 patients were read"),
        (a_log(**NOT_SHOWN), "No patient was shown"),
        (a_log(**IN_STEP), "No patient in Cliniko, and none here"),
        (a_log(**SOME_DELETED), "No patient in Cliniko, and none here but deleted ones"),
        (a_log(**APART, removals_held=40), "No patient in Cliniko"),
        (a_log(**APART, removals_kept=40), "No patient in Cliniko"),
        (a_log(**APART, removals_unasked=1), "No patient in Cliniko"),
        (a_log(stored=1, **IN_STEP), "1 patient is in step"),
        (a_log(stored=1200, **IN_STEP), "All 1,200 patients are in step"),
        (a_log(stored=648, **APART, removals_unasked=30), "648 patients were read"),
        (a_log(stored=648, certificate=None), "648 patients were read"),
    ],
)
def test_each_state_has_its_words(log: SyncLog, words: str) -> None:
    assert headline(log) == words


@pytest.mark.parametrize(
    ("log", "apart"),
    [
        (a_log(stored=648, **APART), True),
        (a_log(stored=648, **APART, removals_held=0), True),
        (a_log(stored=648, **APART, removals_held=40), False),
        (a_log(stored=648, **APART, removals_kept=1), False),
        (a_log(stored=648, **APART, removals_unasked=30), False),
        (a_log(stored=648, failed=1, **APART), False),  # which is told already
        (a_log(stored=647, **NOT_SHOWN), False),
        (a_log(stored=648, **IN_STEP), False),
        (a_log(stored=648), False),
        (running(**APART), False),
    ],
)
def test_both_sides_are_apart_where_nothing_explains_it(log: SyncLog, apart: bool) -> None:
    assert is_apart(log) is apart


@pytest.mark.parametrize(
    ("asked", "running", "words"),
    [
        (
            FULL,
            ACTIVE,
            "An active patients sync is running, so the full sync was not started. "
            "Start it when this one has ended.",
        ),
        (
            RETRY,
            CHANGES,
            "A sync of changes is running, so the retry of failed records was not started. "
            "Start it when this one has ended.",
        ),
        (
            CHANGES,
            FULL,
            "A full sync is running, so the sync of changes was not started: "
            "a full sync reads what has changed, too.",
        ),
    ],
)
def test_it_says_what_was_not_started_and_why(
    asked: OperationType, running: OperationType, words: str
) -> None:
    assert not_started(asked, running) == words
