"""POST /clinics/<id>/syncs: the button "Sync all patients" """

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from redis import Redis

from tests.api.rows import make_log
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.databases import on_both
from tests.sync.logs import newest, rows
from webapp.clock import now, whole_second
from webapp.errors import QueueUnavailable
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, SyncStatus
from webapp.services import organizations
from webapp.sync import history, lease


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/syncs"


def test_without_javascript_it_leads_to_the_page_of_the_clinic(
    bob: Visitor, path: str, cast: Cast
) -> None:
    answer = bob.post(path)
    log = newest(cast)

    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/clinics/{cast.surf.id}"
    assert (log.status, log.operation_type, log.origin) == ("running", "full_patients", "dashboard")
    assert log.started_by_id == cast.bob.id
    assert "Queued" in text_of(bob.get(answer.headers["Location"]))


def test_the_same_form_starts_a_sync_of_changes(bob: Visitor, path: str, cast: Cast) -> None:
    make_log(cast.surf, started_at=now() - timedelta(days=1))
    with transaction():
        db.session.get_one(Organization, cast.surf.id).synced_through = now()

    answer = bob.post(path, operation_type="changed_patients")

    assert answer.status_code == 303
    log = newest(cast)
    assert (log.operation_type, log.origin) == ("changed_patients", "dashboard")


def test_htmx_gets_the_card_and_tells_the_rest_of_the_page(
    bob: Visitor, path: str, cast: Cast
) -> None:
    answer = bob.post_fragment(path)
    (card,) = Parsed(answer.text).having(id="sync-card")

    assert answer.status_code == 200
    assert card["hx-get"] == f"{path}/{newest(cast).id}/progress"
    assert card["hx-trigger"] == "every 2s"
    assert answer.headers["HX-Trigger"] == "sync-changed"
    assert "<html" not in answer.text


def test_a_second_press_shows_the_running_sync(bob: Visitor, path: str, cast: Cast) -> None:
    bob.post(path)
    first = newest(cast).id
    answer = bob.post_fragment(path)

    assert answer.status_code == 200
    assert f"#{first}" in text_of(answer)
    assert newest(cast).id == first
    assert "was not started" not in text_of(bob.get(f"/clinics/{cast.surf.id}"))


@pytest.mark.parametrize("script", [True, False])
def test_what_was_not_begun_because_another_kind_of_sync_runs_is_said(
    bob: Visitor, path: str, cast: Cast, script: bool
) -> None:
    """Pressed on a page that has not heard of the running one, such as one of a schedule."""
    reads = OperationType.CHANGED_PATIENTS
    running = make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), operation_type=reads).id
    clinic = f"/clinics/{cast.surf.id}"
    if script:
        # The rest of the page follows and shows it, for the card is drawn anew by its next poll.
        answer = bob.post_fragment(path)
        assert f"#{running}" in text_of(answer)
        assert answer.headers["HX-Trigger"] == "sync-changed"
        page = bob.get(clinic, headers={"HX-Request": "true", "HX-Target": "main#main"})
    else:
        assert bob.post(path).headers["Location"] == clinic
        page = bob.get(clinic)

    assert (
        "A sync of changes is running, so the full sync was not started. "
        "Start it when this one has ended." in text_of(page)
    )
    (notice,) = Parsed(page.text).having(role="status", _class="notice warn")  # is read out
    assert notice
    assert newest(cast).id == running
    assert "was not started" not in text_of(bob.get(clinic))


def test_too_early_is_said_calmly_with_the_time(bob: Visitor, path: str, cast: Cast) -> None:
    started_at = now()
    make_log(cast.surf, started_at=started_at, origin="dashboard")
    answer = bob.post_fragment(path)

    assert answer.status_code == 200
    assert "synced less than five minutes ago" in text_of(answer)
    at = whole_second((started_at + timedelta(minutes=5)).timestamp())
    assert f"The next sync can be started at {at:%H:%M:%S} UTC." in text_of(answer)
    with transaction():
        cast.surf.time_zone = "Australia/Brisbane"  # ten hours ahead, in summer too
    at += timedelta(hours=10)
    assert f"at {at:%H:%M:%S} AEST." in text_of(bob.post_fragment(path))
    assert "HX-Trigger" not in answer.headers
    bob.post(path)
    assert "synced less than five minutes ago" in text_of(bob.get(f"/clinics/{cast.surf.id}"))
    assert newest(cast).status == SyncStatus.COMPLETED


@pytest.mark.parametrize("target", [None, "div#clinics", "section#first-steps"])
def test_a_page_that_redraws_a_part_of_itself_leaves_the_reason_for_whoever_shows_it(
    bob: Visitor, path: str, cast: Cast, target: str | None
) -> None:
    make_log(cast.surf, started_at=now(), origin="dashboard")
    bob.post(path)
    clinic = f"/clinics/{cast.surf.id}"
    reason = "synced less than five minutes ago"
    asked = {"HX-Request": "true"} | ({"HX-Target": target} if target else {})
    for page in ("/clinics", clinic):
        assert reason not in text_of(bob.get(page, headers=asked))

    follows = {"HX-Request": "true", "HX-Target": "main#main"}
    assert reason in text_of(bob.get(clinic, headers=follows))
    assert reason not in text_of(bob.get(clinic))


def test_after_five_minutes_it_starts_again(bob: Visitor, path: str, cast: Cast) -> None:
    make_log(cast.surf, started_at=now(), origin="dashboard")
    with time_machine.travel(now() + timedelta(minutes=5, seconds=1)):
        bob.post(path)
        assert newest(cast).is_running


def test_without_a_queue_the_card_says_that_nothing_was_started(
    bob: Visitor, path: str, cast: Cast, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Redis.from_url("unix:///nowhere/redis.sock")
    monkeypatch.setitem(app.extensions, "redis", gone)
    answer = bob.post_fragment(path)

    assert "The job queue cannot be reached, so nothing was started" in text_of(answer)
    assert "hx-get" not in answer.text
    assert newest(cast).status == SyncStatus.FAILED


def test_without_a_key_it_says_where_to_add_one(alice: Visitor) -> None:
    organization = organizations.add("Lakeview Chiro")
    answer = alice.post_fragment(f"/clinics/{organization.id}/syncs")
    assert "Add the key in its settings" in text_of(answer)


def test_it_refuses_a_form_without_its_token(bob: Visitor, path: str, cast: Cast) -> None:
    answer = bob.client.post(path)
    assert answer.status_code == 400
    assert "open for too long" in text_of(answer)
    assert history.latest(cast.surf) is None


@on_both
def test_a_start_that_redis_did_not_get_to_confirm_is_shown_as_the_sync_it_is(
    bob: Visitor, path: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enqueue_sync(sync_log_id: int, attempt: int) -> None:
        lease.claim(sync_log_id, attempt, "somebody")
        raise QueueUnavailable()

    monkeypatch.setattr("webapp.sync.start.enqueue_sync", enqueue_sync)

    answer = bob.post_fragment(path)

    (log,) = rows()
    assert (log.status, log.worker) == ("running", "somebody")
    (card,) = Parsed(answer.text).having(id="sync-card")
    assert card["hx-get"] == f"{path}/{log.id}/progress"
    assert answer.status_code == 200
