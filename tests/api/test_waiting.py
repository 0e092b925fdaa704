"""ETag and 304: what a poller pays that asks every two seconds."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from tests.api.envelope import details_of
from tests.api.rows import ended, hold, make_log, record, store
from tests.cast import Cast
from webapp.extensions import db, transaction
from webapp.models import SyncStatus
from webapp.sync import held

ENDPOINTS = ["sync-logs/{}?limit=1", "sync-logs/{}", "status/{}"]


@pytest.fixture(params=ENDPOINTS)
def url(request: pytest.FixtureRequest, cast: Cast) -> str:
    path: str = request.param
    return "/api/v1/cliniko/" + path.format(cast.surf.id)


def again(client: FlaskClient, url: str, answer: TestResponse) -> TestResponse:
    """Ask for what has changed since an answer."""
    return client.get(url, headers={"If-None-Match": answer.headers["ETag"]})


def test_while_nothing_changes_the_answer_is_empty(bob: FlaskClient, url: str, cast: Cast) -> None:
    make_log(cast.surf)
    first = bob.get(url)

    answer = again(bob, url, first)

    assert (answer.status_code, answer.get_data()) == (304, b"")
    assert answer.headers["ETag"] == first.headers["ETag"]
    assert answer.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    remaining = [int(each.headers["X-RateLimit-Remaining"]) for each in (first, answer)]
    assert remaining[0] - remaining[1] == 1


def test_before_the_first_sync_too(bob: FlaskClient, url: str) -> None:
    assert again(bob, url, bob.get(url)).status_code == 304


def test_another_persons_tag_is_as_good(bob: FlaskClient, vera: FlaskClient, url: str) -> None:
    assert again(vera, url, bob.get(url)).status_code == 304


def test_a_whole_sync_is_seen_step_by_step(
    bob: FlaskClient, url: str, cast: Cast, work: Callable[[], None]
) -> None:
    answers = [bob.get(url)]
    bob.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}")
    answers.append(again(bob, url, answers[-1]))
    work()
    answers.append(again(bob, url, answers[-1]))

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.headers["ETag"] for answer in answers}) == 3
    assert again(bob, url, answers[-1]).status_code == 304


@pytest.mark.parametrize(
    "change",
    [
        {"records_success": 1},
        {"records_failed": 1},
        {"progress": {"progress_percent": 0.2}},
        {"status": SyncStatus.FAILED, "error_code": "SYNC_CANCELLED", "error_message": "Stopped."},
    ],
)
def test_whatever_an_answer_shows_makes_a_new_tag(
    bob: FlaskClient, url: str, cast: Cast, change: dict[str, object]
) -> None:
    log = make_log(cast.surf)
    log_id = log.id
    first = bob.get(url)
    with transaction() as session:
        log = session.get_one(type(log), log_id)
        for name, value in change.items():
            if name == "progress":
                value = log.progress | {"progress_percent": 0.2}
            setattr(log, name, value)

    assert again(bob, url, first).status_code == 200


def test_a_decision_about_an_older_sync_is_news(bob: FlaskClient, url: str, cast: Cast) -> None:
    log = hold(cast.surf, 30)
    ended(cast.surf)
    first = bob.get(url)

    held.confirm(cast.surf, log, actor=cast.alice)

    assert again(bob, url, first).status_code == 200


def test_a_sync_whose_worker_is_gone_is_news(bob: FlaskClient, url: str, cast: Cast) -> None:
    log = make_log(cast.surf, SyncStatus.RUNNING, worker="lost")
    first = bob.get(url)
    with transaction():
        log.lease_expires_at = log.started_at

    answer = again(bob, url, first)

    assert answer.status_code == 200
    assert b"failed" in answer.get_data()


@pytest.mark.parametrize(
    "given", ["", "*x", '"other"', 'W/"other"', '"unfinished', ",", "a" * 3000, "\x80"]
)
def test_a_tag_that_is_none_of_ours_gets_the_whole_answer(
    bob: FlaskClient, url: str, given: str
) -> None:
    assert bob.get(url, headers={"If-None-Match": given}).status_code == 200


def test_a_tag_opens_nothing(
    bob: FlaskClient, charlie: FlaskClient, client: FlaskClient, url: str
) -> None:
    first = bob.get(url)

    details_of(again(charlie, url, first), 403, "INSUFFICIENT_PERMISSIONS")
    details_of(again(client, url, first), 401, "AUTHENTICATION_REQUIRED")


def test_bad_parameters_are_refused_whatever_the_tag(bob: FlaskClient, cast: Cast) -> None:
    url = f"/api/v1/cliniko/sync-logs/{cast.surf.id}"
    first = bob.get(url)

    details_of(again(bob, f"{url}?limit=0", first), 400, "VALIDATION_ERROR")


def test_one_row_by_key_tells_whether_something_has_changed(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, *(record(n, "Same", "Name") for n in range(1, 30)))
    first = bob.get(url)
    asked: list[str] = []

    @event.listens_for(db.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    answer = again(bob, url, first)

    tables = [table for statement in asked for table in re.findall(r"\sFROM (\w+)", statement)]
    assert answer.status_code == 304
    assert tables.count("sync_logs") == 1
    assert "patients" not in tables
    assert not any("count(" in statement for statement in asked)
