"""The picture of the last syncs, on the clinics page and on a clinic's own"""

from __future__ import annotations

from datetime import timedelta

from tests.api.rows import MORNING, make_log
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.extensions import transaction
from webapp.models import SyncStatus
from webapp.pages.sync_bars import picture
from webapp.services import clinic_figures


def test_each_bar_is_as_high_as_its_sync_took_long(cast: Cast) -> None:
    slow = make_log(cast.surf)
    quick = make_log(cast.surf, completed_at=MORNING + timedelta(seconds=131))
    instant = make_log(cast.surf, completed_at=MORNING)

    drawn = picture([instant, quick, slow], 14)
    assert [bar.height for bar in drawn.bars] == [100, 50, 6]
    assert [bar.x for bar in drawn.bars] == [220, 240, 260]
    assert drawn.bars[0].words == f"#{slow.id}: completed, 4m 22s"
    assert drawn.words == "The last 3 syncs: 3 completed. The longest took 4m 22s."


def test_a_sync_that_runs_has_taken_no_time_yet(cast: Cast) -> None:
    running = make_log(cast.surf, SyncStatus.RUNNING)
    assert picture([running], 14).words == "The only sync until now: running."
    assert picture([running], 14).bars[0].words == f"#{running.id}: running"

    with transaction():
        running.status, running.completed_at = SyncStatus.COMPLETED, MORNING + timedelta(seconds=5)
    later = make_log(cast.surf, SyncStatus.RUNNING)
    drawn = picture([later, running], 14)
    assert drawn.words == "The last 2 syncs: 1 running, 1 completed. The longest took 5.0s."


def test_a_sync_that_left_records_out_is_called_so(cast: Cast) -> None:
    partly = make_log(cast.surf, records_failed=3)
    assert picture([partly], 14).bars[0].words == f"#{partly.id}: completed with failures, 4m 22s"
    words = picture([partly, make_log(cast.surf)], 14).words
    assert words.startswith("The last 2 syncs: 1 completed, 1 completed with failures.")


def test_nothing_but_the_newest_is_drawn(cast: Cast) -> None:
    logs = [make_log(cast.surf) for _ in range(5)]
    drawn = picture(logs[::-1], 3)
    assert [bar.words.split(":")[0] for bar in drawn.bars] == [f"#{log.id}" for log in logs[2:]]


def test_the_clinics_page_draws_the_last_fourteen_of_each(alice: Visitor, cast: Cast) -> None:
    for _ in range(16):
        make_log(cast.surf)
    make_log(cast.northside, SyncStatus.FAILED, error_code="INTERNAL_ERROR")

    page = Parsed(alice.get("/clinics").text)
    labels = [each.get("aria-label") for each in page.having(role="img")]
    assert labels == [
        "The only sync until now: failed, 4m 22s.",
        "The last 14 syncs: 14 completed. The longest took 4m 22s.",
    ]
    assert len([tag for tag, _ in page.tags if tag == "rect"]) == 15


def test_a_clinic_that_was_never_synced_has_no_picture(alice: Visitor) -> None:
    assert Parsed(alice.get("/clinics").text).having(role="img") == []


def test_a_clinics_page_says_in_words_what_its_picture_shows(vera: Visitor, cast: Cast) -> None:
    make_log(cast.surf)
    make_log(cast.surf, SyncStatus.FAILED, error_code="CLINIKO_FORBIDDEN")
    make_log(cast.surf, SyncStatus.FAILED, error_code="SYNC_CANCELLED")

    words = text_of(vera.get(f"/clinics/{cast.surf.id}"))
    assert "The last 3 syncs: 1 completed, 1 cancelled, 1 failed." in words


def test_the_figures_of_the_clinics_page_hold_fourteen_syncs_newest_first(cast: Cast) -> None:
    logs = [make_log(cast.surf) for _ in range(16)]
    (row,) = clinic_figures.figures([cast.surf])
    assert [log.id for log in row.recent] == [log.id for log in reversed(logs)][:14]
