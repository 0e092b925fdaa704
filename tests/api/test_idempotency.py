"""The header Idempotency-Key on starts: asking twice starts one sync."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tests.api.envelope import details_of
from tests.cast import Cast
from tests.conftest import as_user
from tests.support.databases import on_both
from tests.support.redis_server import RedisServer
from webapp.clock import now
from webapp.errors import QueueUnavailable
from webapp.extensions import db, transaction
from webapp.models import SyncLog
from webapp.sync import ending, history, lease, recovery
from webapp.sync.start import cancel_sync

KEY = "nightly 2026-03-02"


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/sync-all/{cast.surf.id}"


def start(client: FlaskClient, url: str, key: str = KEY) -> TestResponse:
    return client.post(url, headers={"Idempotency-Key": key})


@pytest.fixture
def word_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has the job before Redis gets to say that it took it, which it never does."""

    def enqueue_sync(sync_log_id: int, attempt: int) -> None:
        lease.claim(sync_log_id, attempt, "somebody")
        raise QueueUnavailable()

    monkeypatch.setattr("webapp.sync.start.enqueue_sync", enqueue_sync)


def rows() -> int:
    db.session.rollback()  # see what others have written since
    return db.session.scalar(select(func.count()).select_from(SyncLog)) or 0


def fail_newest(cast: Cast) -> None:
    log = history.latest(cast.surf)
    assert log is not None
    with transaction():
        ending.fail(log, recovery.LOST)


def assert_repeated(again: TestResponse, first: TestResponse) -> None:
    assert (again.status_code, again.get_data()) == (200, first.get_data())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers


def test_while_the_sync_runs_the_same_key_gives_the_same_answer(bob: FlaskClient, url: str) -> None:
    first = start(bob, url)

    assert_repeated(start(bob, url), first)
    assert rows() == 1


def test_the_same_key_gives_the_same_answer_after_the_end(
    bob: FlaskClient, url: str, work: Callable[[], None]
) -> None:
    first = start(bob, url)
    work()

    again = start(bob, url)

    assert_repeated(again, first)
    assert again.headers["X-RateLimit-Remaining"] == "0"
    assert rows() == 1


def test_a_sync_that_failed_is_told_of_as_well(bob: FlaskClient, url: str, cast: Cast) -> None:
    first = start(bob, url)
    fail_newest(cast)

    assert_repeated(start(bob, url), first)
    assert start(bob, url, "another key").get_json() != first.get_json()


def test_after_a_day_the_key_is_new_again(
    app: Flask, bob: FlaskClient, url: str, cast: Cast, work: Callable[[], None]
) -> None:
    first = start(bob, url)
    work()

    with time_machine.travel(now() + timedelta(hours=23, minutes=59)):
        assert_repeated(start(as_user(app, cast.bob), url), first)
    with time_machine.travel(now() + timedelta(hours=24, minutes=1)):
        later = start(as_user(app, cast.bob), url)
    assert later.get_json()["sync_log_id"] > first.get_json()["sync_log_id"]


def test_a_key_belongs_to_the_person_who_chose_it(
    bob: FlaskClient, alice: FlaskClient, url: str
) -> None:
    start(bob, url)

    details_of(start(alice, url), 429, "SYNC_ALREADY_RUNNING")


def test_a_key_belongs_to_one_clinic(alice: FlaskClient, url: str, cast: Cast) -> None:
    surf = start(alice, url).get_json()
    northside = start(alice, f"/api/v1/cliniko/sync-all/{cast.northside.id}").get_json()

    assert surf["sync_log_id"] != northside["sync_log_id"]


def test_a_key_belongs_to_one_endpoint(
    app: Flask, bob: FlaskClient, url: str, cast: Cast, work: Callable[[], None]
) -> None:
    changes = url.replace("sync-all", "sync-changes")
    of_all = start(bob, url)
    work()

    with time_machine.travel(now() + timedelta(minutes=6)):
        later = as_user(app, cast.bob)
        of_changes = start(later, changes)
        assert of_changes.get_json()["operation_type"] == "changed_patients"
        assert_repeated(start(later, changes), of_changes)
        assert_repeated(start(later, url), of_all)
    assert rows() == 2


def test_a_key_is_known_again_where_a_sync_of_changes_became_one_of_all(
    bob: FlaskClient, url: str
) -> None:
    changes = url.replace("sync-all", "sync-changes")
    first = start(bob, changes)

    assert first.get_json()["operation_type"] == "full_patients"
    assert_repeated(start(bob, changes), first)
    details_of(start(bob, url), 429, "SYNC_ALREADY_RUNNING")


def test_a_start_that_was_refused_keeps_no_key(
    bob: FlaskClient, alice: FlaskClient, url: str, cast: Cast
) -> None:
    running = alice.post(url).get_json()
    details_of(start(bob, url), 429, "SYNC_ALREADY_RUNNING")
    fail_newest(cast)

    started = start(bob, url)

    assert started.status_code == 200
    assert started.get_json()["sync_log_id"] > running["sync_log_id"]


@pytest.mark.parametrize("key", ["", "a" * 256, "schlüssel", "tab\there"])
def test_a_key_of_impossible_form_is_refused(bob: FlaskClient, url: str, key: str) -> None:
    details = details_of(start(bob, url, key), 400, "VALIDATION_ERROR")

    assert details["parameter"] == "Idempotency-Key"
    assert rows() == 0


def test_the_key_itself_is_not_kept(bob: FlaskClient, url: str, cast: Cast) -> None:
    start(bob, url, "john@example.com")

    log = history.latest(cast.surf)
    assert log is not None
    assert "john" not in str(log.idempotency_key)


def test_twenty_at_once_with_one_key_start_one_sync(app: Flask, cast: Cast, url: str) -> None:
    header = as_user(app, cast.bob).environ_base["HTTP_AUTHORIZATION"]

    def ask(_: int) -> tuple[int, bytes]:
        headers = {"Authorization": header, "Idempotency-Key": KEY}
        answer = app.test_client().post(url, headers=headers)
        return answer.status_code, answer.get_data()

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(ask, range(20)))

    assert [status for status, _ in answers] == [200]
    assert rows() == 1


class TestWhileTheQueueIsAway:
    @pytest.fixture
    def redis(self) -> Iterator[RedisServer]:
        with RedisServer() as server:
            yield server

    @pytest.fixture
    def redis_url(self, redis: RedisServer) -> str:
        return redis.url

    def test_nothing_was_started_so_the_key_is_good_for_another_try(
        self, bob: FlaskClient, url: str, redis: RedisServer
    ) -> None:
        redis.stop(signal.SIGKILL)
        details_of(start(bob, url), 503, "QUEUE_UNAVAILABLE")
        redis.start()

        assert start(bob, url).status_code == 200


def test_a_start_that_was_cancelled_before_any_worker_was_told_is_refused(
    bob: FlaskClient, cast: Cast, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enqueue_sync(sync_log_id: int, _attempt: int) -> None:
        cancel_sync(cast.surf, actor=cast.alice, sync_log_id=sync_log_id)
        raise QueueUnavailable()

    monkeypatch.setattr("webapp.sync.start.enqueue_sync", enqueue_sync)

    assert start(bob, url).status_code == 503
    log = history.latest(cast.surf)
    assert log is not None
    assert (log.error_code, log.idempotency_key) == ("SYNC_CANCELLED", None)


@on_both
@pytest.mark.usefixtures("word_lost")
def test_a_start_that_redis_did_not_get_to_confirm_is_told_as_one_and_keeps_its_key(
    bob: FlaskClient, cast: Cast, url: str
) -> None:
    first = start(bob, url)

    assert first.status_code == 200, first.text
    assert_repeated(start(bob, url), first)
    assert rows() == 1
    log = history.latest(cast.surf)
    assert log is not None
    assert (log.id, log.status) == (first.get_json()["sync_log_id"], "running")
    assert log.idempotency_key is not None
