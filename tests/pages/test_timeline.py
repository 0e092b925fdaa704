"""The phases of a sync, on its page"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.api.rows import MORNING, make_log
from tests.cast import Cast
from tests.pages.visitor import Visitor, text_of
from webapp.models import OperationType, SyncLog, SyncPhase, SyncStatus
from webapp.pages.timeline import timeline
from webapp.sync.progress import Progress

ENTERED = {"connecting": 1.0, "fetching": 2.0, "reconciling": 7.0}


def sync(cast: Cast, entered: dict[str, float] | None, **values: Any) -> SyncLog:
    progress = Progress(OperationType.FULL_PATIENTS).metadata()
    del progress["phases_entered_after"]  # as of a sync from before phases were written down
    if entered is not None:
        progress["phases_entered_after"] = entered
    ended = {"completed_at": MORNING + timedelta(seconds=10)}
    return make_log(cast.surf, **(ended | values | {"progress": progress}))


def test_each_phase_is_as_wide_as_it_was_long(cast: Cast) -> None:
    stretches = timeline(sync(cast, ENTERED))
    assert [each.phase for each in stretches] == list(SyncPhase)[:4]
    assert [each.seconds for each in stretches] == [1.0, 1.0, 5.0, 3.0]
    assert [each.x for each in stretches] == [0.0, 10.0, 20.0, 70.0]
    assert sum(each.width for each in stretches) == pytest.approx(100)


def test_a_sync_that_failed_early_ends_in_the_phase_it_was_in(cast: Cast) -> None:
    log = sync(cast, {"connecting": 4.0}, status=SyncStatus.FAILED, error_code="INTERNAL_ERROR")
    assert [each.seconds for each in timeline(log)] == [4.0, 6.0]


@pytest.mark.parametrize("entered", [None, {}])
def test_a_sync_that_tells_of_no_phases_has_no_timeline(
    cast: Cast, vera: Visitor, entered: dict[str, float] | None
) -> None:
    log = sync(cast, entered)
    assert timeline(log) == []
    assert "Timeline" not in vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}").text


def test_a_clock_that_was_set_back_turns_nothing_around(cast: Cast) -> None:
    log = sync(cast, ENTERED, completed_at=MORNING + timedelta(seconds=3))
    assert all(each.width >= 0 for each in timeline(log))


def test_the_page_of_a_sync_says_how_long_each_phase_took(vera: Visitor, cast: Cast) -> None:
    log = sync(cast, ENTERED | {"reconciling": 7386.2})
    words = text_of(vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))
    assert "Waiting for a worker 1.0s Connecting to Cliniko 1.0s Reading patients 2h 3m 4s" in words
    assert "Checking that nobody is missing 0.0s" in words
