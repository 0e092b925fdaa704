"""GET /clinics/<id>/syncs/<id>: one sync, with the records that failed"""

from __future__ import annotations

from tests.api.rows import make_log, refuse
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.clock import now
from webapp.models import SyncStatus


def test_it_says_who_started_it_and_how(vera: Visitor, cast: Cast) -> None:
    log = make_log(cast.surf, started_by_id=cast.bob.id, origin="dashboard", attempt=2)
    words = text_of(vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))
    assert "Started 2 Mar 2026, 09:30:00 UTC Ended 2 Mar 2026, 09:34:22 UTC" in words
    assert "Started by bob@example.com Through Dashboard" in words
    assert "Taken over 1" in words


def test_each_failed_record_says_which_where_and_why(vera: Visitor, cast: Cast) -> None:
    log = refuse(cast.surf, 1)
    words = text_of(vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))
    assert "Cliniko id Page Field Reason 900 3 date_of_birth is no date" in words


def test_failed_records_come_in_pages(vera: Visitor, cast: Cast) -> None:
    log = refuse(cast.surf, 30)
    path = f"/clinics/{cast.surf.id}/syncs/{log.id}"
    first = vera.get(path)
    (following,) = Parsed(first.text).having(rel="next")

    assert "1\u201325 of 30" in text_of(first)
    assert following["href"] == f"{path}?page=2#failures"
    second = text_of(vera.get(f"{path}?page=2"))
    assert "26\u201330 of 30" in second
    assert "9029" in second


def test_without_failures_it_says_so(vera: Visitor, cast: Cast) -> None:
    log = make_log(cast.surf)
    words = text_of(vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))
    assert "every record that came could be stored" in words


def test_a_running_one_is_live_here_too(vera: Visitor, cast: Cast) -> None:
    log = make_log(cast.surf, SyncStatus.RUNNING, started_at=now())
    page = vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}").text
    assert "every 2s" in page
    assert 'http-equiv="refresh"' in page
