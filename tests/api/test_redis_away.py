"""The API while Redis is away: reading goes on and stays limited, nothing is started."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError, Event

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from tests.api.envelope import details_of
from tests.cast import PASSWORD, Cast
from tests.codes import set_up
from tests.support.redis_server import RedisServer
from webapp import queue
from webapp.limits.storage import LimitStorage
from webapp.sync import history


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of this test alone, which can be killed."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis: RedisServer) -> str:
    return redis.url


def test_reading_goes_on_at_once_and_stays_limited(
    bob: FlaskClient, cast: Cast, redis: RedisServer
) -> None:
    url = f"/api/v1/cliniko/sync-logs/{cast.surf.id}"
    assert bob.get(url).status_code == 200
    redis.stop(signal.SIGKILL)

    began = time.monotonic()
    answers = [bob.get(url) for _ in range(60)]

    assert time.monotonic() - began < 10
    assert {answer.status_code for answer in answers} == {200}
    assert answers[-1].headers["X-RateLimit-Remaining"] == "0"
    details_of(bob.get(url), 429, "RATE_LIMITED")


def test_a_redis_that_hangs_holds_nobody_up_for_long(
    bob: FlaskClient, cast: Cast, redis: RedisServer
) -> None:
    url = f"/api/v1/cliniko/status/{cast.surf.id}"
    bob.get(url)
    process_id = Redis.from_url(redis.url).info("server")["process_id"]

    os.kill(process_id, signal.SIGSTOP)
    try:
        began = time.monotonic()
        statuses = {bob.get(url).status_code for _ in range(20)}
        took = time.monotonic() - began
    finally:
        os.kill(process_id, signal.SIGCONT)

    assert statuses == {200}
    assert took < 10  # not a second for each


def test_a_start_is_refused_and_leaves_nothing_running(
    bob: FlaskClient, cast: Cast, redis: RedisServer
) -> None:
    redis.stop(signal.SIGKILL)

    answer = bob.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}")

    details = details_of(answer, 503, "QUEUE_UNAVAILABLE")
    assert details["organization_id"] == cast.surf.id
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["X-RateLimit-Remaining"] == "1"
    log = history.latest(cast.surf)
    assert log is not None
    assert (log.status, log.error_code) == ("failed", "QUEUE_UNAVAILABLE")


def test_after_redis_is_back_a_start_works(
    bob: FlaskClient, cast: Cast, redis: RedisServer
) -> None:
    url = f"/api/v1/cliniko/sync-all/{cast.surf.id}"
    redis.stop()
    assert bob.post(url).status_code == 503

    redis.start()

    assert bob.post(url).status_code == 200


def test_passwords_can_still_not_be_guessed(
    client: FlaskClient, cast: Cast, redis: RedisServer
) -> None:
    redis.stop(signal.SIGKILL)

    def ask(password: str) -> int:
        body = {"email": "bob@example.com", "password": password}
        return client.post("/api/v1/auth/token", json=body).status_code

    assert ask(PASSWORD) == 200
    assert [ask("wrong") for _ in range(11)] == [401] * 10 + [429]


def test_guesses_stay_limited(app: Flask, cast: Cast, redis: RedisServer) -> None:
    client = app.test_client()
    phone = set_up(cast.vera)
    redis.stop(signal.SIGKILL)

    def ask(email: str, password: str, **code: str) -> int:
        body = {"email": email, "password": password, **code}
        return client.post("/api/v1/auth/token", json=body).status_code

    assert [ask(cast.bob.email, "wrong") for _ in range(11)] == [401] * 10 + [429]
    codes = [ask(cast.vera.email, PASSWORD, code="000000") for _ in range(6)]
    assert codes == [401] * 5 + [429]
    assert ask(cast.vera.email, PASSWORD, code=phone.code()) == 429


def test_without_redis_one_thread_counts_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's memory starts a timer whenever the last one has run out: of two threads at once
    in there, one would start the other's again, which raises RuntimeError."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    pool = queue.web_connection(f"redis://127.0.0.1:{port}").connection_pool
    storage, meeting, met = LimitStorage("", connection_pool=pool), Barrier(2), Event()
    storage._away_until = float("inf")  # neither is held up by asking it first
    together = Barrier(2, timeout=30)

    def ask(_: int) -> bool:
        together.wait()
        return storage.acquire_entry("somebody", 60, 60)

    def meet(*_: object) -> bool:
        with suppress(BrokenBarrierError):  # nobody else came in: as it should be
            meeting.wait(0.5)
            met.set()
        return True

    monkeypatch.setattr(storage._memory, "acquire_entry", meet)
    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(ask, range(2)))
    assert not met.is_set()
