"""How long each endpoint of the API takes on the running system, beside what was promised.

    .venv/bin/python -m bench.api --patients 100000

Web server, worker, Redis and simulator are processes of their own, as in operation; the patients
come from a sync. Each endpoint is asked over one connection, then over eight at once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import requests
from flask import Flask

from bench.system import one_sync, postgresql, simulator, system
from tests.support.gunicorn_server import gunicorn
from tests.support.processes import wait_until
from webapp.models import Role
from webapp.queue import redis_connection
from webapp.services import people, tokens

CLIENTS = 8
PEOPLE = 40
SERIES_SECONDS = 10  # a slow endpoint is asked less often
PASSWORD = "a password for measuring only"

# What is asked of the one clinic, whether for a change only, and the promise in milliseconds.
READS = [
    ("/cliniko/sync-logs/1?limit=1", False, 100),
    ("/cliniko/sync-logs/1?limit=1", True, 100),
    ("/cliniko/sync-logs/1?limit=100", False, 100),
    ("/cliniko/status/1", False, 150),
    ("/cliniko/status/1", True, 150),
    ("/cliniko/active-patients/1", False, None),
    ("/cliniko/active-patients/1?limit=500", False, None),
    ("/cliniko/active-patients/1?search=nguyen", False, None),
    ("/cliniko/active-patients/1?offset=90000", False, None),
    ("/organizations", False, None),
    ("/cliniko/test-connection/1", False, 5000),
]


def main() -> None:
    """Measure, and print a line for each endpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--latency-ms", type=float, default=0, help="of Cliniko")
    parser.add_argument("--requests", type=int, default=250, help="to each endpoint, one by one")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    said = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        cliniko = stack.enter_context(simulator(said.patients, said.latency_ms))
        database_url = ""
        if said.database == "postgresql":
            database_url = stack.enter_context(postgresql()).create("bench")
        app = stack.enter_context(system(folder, cliniko, database_url=database_url))
        seconds, *_ = one_sync(app)
        print(
            f"{said.patients} patients on {said.database}, synced in {seconds:.1f} s; times in ms"
        )
        print(f"{'':42}{'promised':>9}{'one client':>17}{'eight clients':>17}")
        print(f"{'':42}{'':9}{'median':>9}{'p99':>8}{'median':>9}{'p99':>8}")
        environ = os.environ | app.config["ENVIRON"]
        address = stack.enter_context(gunicorn(environ, folder / "web.log"))
        api = f"http://{address}/api/v1"
        callers = [_token(number) for number in range(PEOPLE)]
        for path, unchanged, promise in READS:
            _row(app, api, path, callers, unchanged, promise, said.requests)
        starts = [_start(api, callers[0]) for _ in range(said.starts)]
        print(_line("POST /cliniko/sync-all/1", 200, starts, []))


def _row(
    app: Flask,
    api: str,
    path: str,
    callers: Sequence[str],
    unchanged: bool,
    promise: int | None,
    count: int,
) -> None:
    alone, together = [], []
    few = count // 30 if "test-connection" in path else count  # 10 a minute for each caller
    _forget_limits(app)
    alone = _ask(api + path, callers, unchanged, few)
    _forget_limits(app)
    shares = [callers[number::CLIENTS] for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as clients:
        for took in clients.map(lambda mine: _ask(api + path, mine, unchanged, few), shares):
            together += took
    name = f"GET {path}{', unchanged' if unchanged else ''}"
    print(_line(name, promise, alone, together), flush=True)


def _ask(url: str, callers: Sequence[str], unchanged: bool, count: int) -> list[float]:
    """Milliseconds of each request over one connection, the callers taking turns."""
    took = []
    with requests.Session() as session:
        headers = {"Authorization": callers[0]}
        first = session.get(url, headers=headers, timeout=60)
        if unchanged:
            headers["If-None-Match"] = first.headers["ETag"]
        until = time.perf_counter() + SERIES_SECONDS
        for number in range(count):
            if time.perf_counter() > until:
                break
            headers["Authorization"] = callers[number % len(callers)]
            began = time.perf_counter()
            answer = session.get(url, headers=headers, timeout=60)
            took.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == (304 if unchanged else 200), answer.text
    return took


def _start(api: str, token: str) -> float:
    """Milliseconds of a start; the sync is cancelled, which gives the clinic its window back."""
    headers = {"Authorization": token}
    began = time.perf_counter()
    answer = requests.post(f"{api}/cliniko/sync-all/1", headers=headers, timeout=60)
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, answer.text
    requests.post(f"{api}/cliniko/cancel/1", headers=headers, timeout=60)
    wait_until(lambda: _newest_status(api, headers) == "failed", seconds=60)
    return took


def _newest_status(api: str, headers: dict[str, str]) -> str:
    time.sleep(1)  # 60 a minute
    answer = requests.get(f"{api}/cliniko/status/1", headers=headers, timeout=60)
    return str(answer.json()["sync_status"])


def _line(name: str, promise: int | None, alone: list[float], together: list[float]) -> str:
    times = "".join(f"{_median(took)}{_p99(took)}" for took in (alone, together) if took)
    return f"{name:42}{promise or '-':>9}{times}"


def _median(took: list[float]) -> str:
    return f"{statistics.median(took):9.1f}"


def _p99(took: list[float]) -> str:
    return f"{sorted(took)[min(len(took) - 1, int(len(took) * 0.99))]:8.1f}"


def _token(number: int) -> str:
    person = people.create(f"caller-{number}@example.com", PASSWORD, role=Role.ADMIN)
    return f"Bearer {tokens.issue(person)[0]}"


def _forget_limits(app: Flask) -> None:
    redis = redis_connection()
    for key in redis.scan_iter("LIMITS*"):
        redis.delete(key)


if __name__ == "__main__":
    main()
