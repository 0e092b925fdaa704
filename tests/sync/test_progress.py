"""Progress in numbers: true and never falling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.models import OperationType, SyncPhase
from webapp.sync.progress import Progress, percent


@pytest.mark.parametrize(
    ("processed", "found", "expected"),
    [(450, 648, 69.4), (0, 648, 0.0), (1, 100_000, 0.1), (648, 648, 99.9), (700, 648, 99.9)],
)
def test_percent_is_processed_of_found(processed: int, found: int, expected: float) -> None:
    assert percent(processed, found, before=0.0) == expected


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000))))
def test_percent_never_falls_and_never_promises_the_end(steps: list[tuple[int, int]]) -> None:
    shown = 0.0
    for processed, found in steps:
        now = percent(processed, found, before=shown)
        assert shown <= now <= 99.9
        shown = now


def test_metadata_says_it_in_the_words_of_the_api() -> None:
    metadata = Progress(
        OperationType.FULL_PATIENTS,
        SyncPhase.FETCHING,
        found=648,
        success=448,
        failed=2,
        current_page=9,
        total_pages=13,
        percent=69.4,
        remaining_seconds=45.2,
    ).metadata()
    assert metadata["patients_found"] == 648
    assert metadata["patients_stored"] == 448
    assert metadata["sync_type"] == "full_patients"
    assert (metadata["current_page"], metadata["total_pages"]) == (9, 13)
    assert metadata["progress_percent"] == 69.4
    assert metadata["estimated_remaining"] == "45 seconds"
    assert metadata["estimated_remaining_seconds"] == 45
    assert metadata["phase"] == "fetching"
    assert (metadata["waiting_until"], metadata["waiting_for"]) == (None, None)


def test_a_phase_was_entered_when_it_was_entered_first() -> None:
    begun = Progress(OperationType.FULL_PATIENTS).entering(SyncPhase.CONNECTING, 0.24)
    again = begun.entering(SyncPhase.FETCHING, 0.5).entering(SyncPhase.CONNECTING, 20.0)
    assert again.phase is SyncPhase.CONNECTING
    assert again.metadata()["phases_entered_after"] == {"connecting": 0.2, "fetching": 0.5}
