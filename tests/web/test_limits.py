"""Limits on callers are one for both processes, whatever a stranger writes into the headers."""

from __future__ import annotations

import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.web.conftest import Web, serving


def forged(number: int) -> dict[str, str]:
    """What a stranger writes to look like somebody else each time."""
    address = f"203.0.113.{number}"
    return {"X-Forwarded-For": address, "X-Real-IP": address, "Forwarded": f"for={address}"}


def test_of_200_reads_at_once_exactly_60_pass(web: Web) -> None:
    before = len(web.log.read_text())

    def read(number: int) -> requests.Response:
        to = "bob again" if number % 2 else "bob"
        return web.ask("GET", "/cliniko/sync-logs/1", to=to, headers=forged(number))

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(read, range(200)))

    assert Counter(answer.status_code for answer in answers) == {200: 60, 429: 140}
    assert len(set(re.findall(r'"process": (\d+)', web.log.read_text()[before:]))) == 2
    for answer in answers:
        assert answer.headers["X-RateLimit-Limit"] == "60"
        assert 0 <= int(answer.headers["X-RateLimit-Remaining"]) < 60
        assert time.time() - 1 <= int(answer.headers["X-RateLimit-Reset"]) <= time.time() + 61
        assert ("Retry-After" in answer.headers) == (answer.status_code == 429)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.json()["error_code"] for answer in refused} == {"RATE_LIMITED"}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 61 for answer in refused)


def test_of_30_guesses_from_one_address_20_are_heard(web: Web) -> None:
    def guess(number: int) -> int:
        guess = {"email": f"somebody{number}@example.com", "password": "a guess, and a wrong one"}
        url = f"{web.url}/api/v1/auth/token"
        return requests.post(url, json=guess, headers=forged(number), timeout=40).status_code

    with ThreadPoolExecutor(8) as threads:
        answers = Counter(threads.map(guess, range(30)))

    assert answers == {401: 20, 429: 10}


@pytest.fixture
def orphaned(sqlite_template: Path, tmp_path: Path) -> Iterator[Web]:
    """A web server that has started a sync of Surf Rehab before its Redis was killed."""
    with serving(tmp_path, sqlite_template) as web:
        assert web.ask("POST", "/cliniko/sync-all/1", to="bob").status_code == 200
        web.redis.stop(signal.SIGKILL)
        yield web


def test_without_redis_reads_go_on_and_stay_limited_in_each_process(orphaned: Web) -> None:
    began = time.monotonic()

    with ThreadPoolExecutor(20) as threads:
        reads = threads.map(
            lambda _: orphaned.ask("GET", "/cliniko/sync-logs/2", to="charlie"), range(150)
        )
        answers = Counter(answer.status_code for answer in reads)

    assert set(answers) == {200, 429}
    assert 60 <= answers[200] <= 2 * 60
    assert time.monotonic() - began < 30


def test_without_redis_a_start_is_refused_and_the_database_holds_its_limit(orphaned: Web) -> None:
    def start(clinic: int, to: str) -> tuple[int, str]:
        answer = orphaned.ask("POST", f"/cliniko/sync-all/{clinic}", to=to)
        return answer.status_code, answer.json()["error_code"]

    assert start(2, "charlie") == (503, "QUEUE_UNAVAILABLE")
    newest = orphaned.ask("GET", "/cliniko/sync-logs/2?limit=1", to="charlie").json()["logs"][0]
    assert newest["status"] == "failed"

    assert start(1, "bob") == (429, "SYNC_ALREADY_RUNNING")
    with closing(sqlite3.connect(orphaned.database)) as database, database:
        database.execute(
            "UPDATE sync_logs SET status = 'completed', completed_at = started_at"
            " WHERE organization_id = 1"
        )
    assert start(1, "bob") == (429, "RATE_LIMITED")
