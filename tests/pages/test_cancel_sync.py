"""POST /clinics/<id>/syncs/<id>/cancel"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from tests.api.rows import make_log
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import SyncLog, SyncStatus
from webapp.pages import syncs
from webapp.sync.start import cancel_sync


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}"


def running(cast: Cast, **values: Any) -> SyncLog:
    return make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), **values)


def test_the_page_asks_once_before_it_cancels(bob: Visitor, path: str, cast: Cast) -> None:
    log = running(cast)
    page = Parsed(bob.get(path).text)
    (dialog,) = page.having(id="cancel-sync")
    assert "popover" in dialog  # closed until its button is pressed, also without JavaScript
    assert page.having(popovertarget="cancel-sync")
    assert page.having(action=f"{path}/syncs/{log.id}/cancel", method="post")


def test_one_that_no_worker_has_begun_is_closed_at_once(
    bob: Visitor, path: str, cast: Cast
) -> None:
    log = running(cast)
    answer = bob.post_fragment(f"{path}/syncs/{log.id}/cancel")

    assert "Cancelled; what was stored is kept" in text_of(answer)
    assert answer.headers["HX-Trigger"] == "sync-changed"
    db.session.rollback()  # what this test has read until now is old
    assert (log.status, log.error_code) == ("failed", "SYNC_CANCELLED")


def test_one_that_a_worker_has_is_shown_as_stopping_and_polled_on(
    bob: Visitor, path: str, cast: Cast
) -> None:
    log = running(cast, worker="w")
    answer = bob.post_fragment(f"{path}/syncs/{log.id}/cancel")

    assert "Stopping after the page at hand" in text_of(answer)
    assert "every 2s" in answer.text
    assert "Cancel sync" not in text_of(bob.get(path))


def test_without_javascript_it_leads_to_the_page_of_the_clinic(
    bob: Visitor, path: str, cast: Cast
) -> None:
    log = running(cast)
    answer = bob.post(f"{path}/syncs/{log.id}/cancel")
    assert (answer.status_code, answer.headers["Location"]) == (303, path)


def test_one_that_has_ended_is_shown_as_it_is(bob: Visitor, path: str, cast: Cast) -> None:
    log = make_log(cast.surf)
    answer = bob.post_fragment(f"{path}/syncs/{log.id}/cancel")
    assert answer.status_code == 200
    assert "Completed" in text_of(answer)


def test_an_old_page_does_not_cancel_a_newer_sync(bob: Visitor, path: str, cast: Cast) -> None:
    old = make_log(cast.surf)
    newer = running(cast)
    bob.post(f"{path}/syncs/{old.id}/cancel")

    db.session.rollback()
    assert newer.is_running
    assert newer.cancel_requested_at is None


def test_a_sync_that_begins_as_the_old_one_ends_goes_on(
    bob: Visitor, path: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, newer = running(cast, worker="w").id, []

    def a_moment_later(*said: Any, **more: Any) -> SyncLog:
        with transaction() as session:
            session.execute(update(SyncLog).values(status=SyncStatus.COMPLETED))
        newer.append(running(cast))
        return cancel_sync(*said, **more)

    monkeypatch.setattr(syncs, "cancel_sync", a_moment_later)

    assert bob.post_fragment(f"{path}/syncs/{old}/cancel").status_code == 200
    db.session.rollback()
    assert [(log.status, log.cancel_requested_at) for log in newer] == [(SyncStatus.RUNNING, None)]
