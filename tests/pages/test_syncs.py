"""GET /clinics/<id>/syncs: the history"""

from __future__ import annotations

import pytest

from tests.api.rows import make_log
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import OperationType, SyncOrigin, SyncStatus


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/syncs"


def test_before_the_first_sync_it_leads_to_the_overview(vera: Visitor, path: str) -> None:
    assert "No sync yet" in text_of(vera.get(path))


def test_the_newest_comes_first(vera: Visitor, path: str, cast: Cast) -> None:
    first, second = make_log(cast.surf), make_log(cast.surf)
    words = text_of(vera.get(path))
    assert words.index(f"#{second.id}") < words.index(f"#{first.id}")
    assert "1\u20132 of 2" in words


@pytest.mark.parametrize("page", ["/syncs", ""])
def test_times_are_told_by_the_clinics_clock(vera: Visitor, cast: Cast, page: str) -> None:
    cast.surf.time_zone = "Australia/Sydney"
    db.session.commit()
    make_log(cast.surf)
    html = vera.get(f"/clinics/{cast.surf.id}{page}").text
    table = html.partition("<tbody>")[2].partition("</tbody>")[0]
    assert "2 Mar 2026, 20:30:00 AEDT" in table


def test_it_can_be_narrowed_to_a_status_and_a_type(vera: Visitor, path: str, cast: Cast) -> None:
    done = make_log(cast.surf, operation_type=OperationType.ACTIVE_PATIENTS)
    failed = make_log(cast.surf, SyncStatus.FAILED, error_code="CLINIKO_FORBIDDEN")

    words = text_of(vera.get(f"{path}?status=failed"))
    assert f"#{failed.id}" in words
    assert f"#{done.id}" not in words
    words = text_of(vera.get(f"{path}?operation_type=active_patients&status="))
    assert f"#{done.id}" in words
    assert f"#{failed.id}" not in words


def test_the_form_shows_what_was_chosen(vera: Visitor, path: str) -> None:
    form = Parsed(vera.get(f"{path}?status=failed").text)
    (chosen,) = [option for option in form.having(value="failed") if "selected" in option]
    assert chosen["value"] == "failed"


def test_when_nothing_matches_it_offers_all(vera: Visitor, path: str, cast: Cast) -> None:
    make_log(cast.surf)
    assert "No sync matches" in text_of(vera.get(f"{path}?status=failed"))


def test_pages_keep_what_was_chosen(vera: Visitor, path: str, cast: Cast) -> None:
    for _ in range(30):
        make_log(cast.surf)
    first = vera.get(f"{path}?status=completed")
    (following,) = Parsed(first.text).having(rel="next")

    assert "1\u201325 of 30" in text_of(first)
    assert following["href"] == f"{path}?page=2&status=completed"
    second = vera.get(following["href"] or "")
    assert "26\u201330 of 30" in text_of(second)
    assert Parsed(second.text).having(rel="prev")
    assert not Parsed(second.text).having(rel="next")


@pytest.mark.parametrize("query", ["status=odd", "operation_type=x", "page=0", "page=-1", "page=x"])
def test_nonsense_is_refused_in_words(vera: Visitor, path: str, query: str) -> None:
    answer = vera.get(f"{path}?{query}")
    assert answer.status_code == 400
    assert "That cannot be understood" in text_of(answer)


def test_an_open_page_hears_of_a_sync_that_was_started_elsewhere(
    vera: Visitor, path: str, cast: Cast
) -> None:
    assert "HX-Trigger" not in vera.get_fragment(f"{path}/news?after=0").headers
    log = make_log(cast.surf)
    assert vera.get_fragment(f"{path}/news?after=0").headers["HX-Trigger"] == "sync-changed"
    assert "HX-Trigger" not in vera.get_fragment(f"{path}/news?after={log.id}").headers


def test_an_open_page_hears_of_the_end_of_the_sync_that_it_shows_as_running(
    vera: Visitor, path: str, cast: Cast
) -> None:
    log = make_log(cast.surf, SyncStatus.RUNNING, started_at=now())
    (news,) = Parsed(vera.get(path).text).having(id="news")
    asked = news["hx-get"] or ""
    assert "HX-Trigger" not in vera.get_fragment(asked).headers
    with transaction():
        log.status = SyncStatus.COMPLETED
    assert vera.get_fragment(asked).headers["HX-Trigger"] == "sync-changed"

    (news,) = Parsed(vera.get(path).text).having(id="news")
    assert "HX-Trigger" not in vera.get_fragment(news["hx-get"] or "").headers


def test_what_was_narrowed_down_hears_of_every_sync_and_stays_as_it_is(
    vera: Visitor, path: str, cast: Cast
) -> None:
    log = make_log(cast.surf)
    chosen = f"{path}?status=failed&operation_type=full_patients"
    page = Parsed(vera.get(chosen).text)
    (news,), (history,) = page.having(id="news"), page.having(id="history")
    assert news["hx-get"] == f"{path}/news?after={log.id}"
    assert history["hx-get"] == chosen


def test_news_after_nonsense_are_refused(vera: Visitor, path: str) -> None:
    assert vera.get(f"{path}/news?after=yesterday").status_code == 400


def test_it_says_who_started_each_and_how(bob: Visitor, path: str, cast: Cast) -> None:
    make_log(cast.surf, origin=SyncOrigin.API, started_by_id=cast.bob.id)
    make_log(cast.surf)
    words = text_of(bob.get(path))
    assert f"{cast.bob.email} API" in words
    assert "— Command line" in words


def test_who_started_it_is_no_viewer_s_business(
    bob: Visitor, vera: Visitor, path: str, cast: Cast
) -> None:
    log = make_log(cast.surf, started_by_id=cast.alice.id)
    for page in (path, f"{path}/{log.id}"):
        assert "alice@example.com" in text_of(bob.get(page))
        assert "alice@example.com" not in text_of(vera.get(page))
