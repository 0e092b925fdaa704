"""The whole system as `script/server` starts it, driven over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from script.address import free_port
from script.serve import password_once_ready
from tests.support.processes import descendants

ROOT = Path(__file__).resolve().parent.parent

POLL_SECONDS = 1.2


@dataclass(frozen=True)
class System:
    """A running system and the token of its admin."""

    url: str
    token: str
    pid: int
    simulator: str

    def ask(self, method: str, path: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=30)

    def newest_sync(self) -> dict[str, Any]:
        log: dict[str, Any] = self.ask("GET", "/cliniko/sync-logs/1?limit=1").json()["logs"][0]
        return log

    def polled(self, *, seconds: float) -> Iterator[dict[str, Any]]:
        """What a client sees that asks until the sync has ended, no oftener than it may."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            yield (log := self.newest_sync())
            if log["status"] in ("completed", "failed"):
                return
            time.sleep(POLL_SECONDS)
        raise TimeoutError("the sync has not ended in time")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    instance = tmp_path_factory.mktemp("system")
    url = f"http://127.0.0.1:{(port := free_port())}"
    environ = os.environ | {"INSTANCE_DIR": str(instance), "PORT": str(port)}
    environ |= {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "script.serve"]
    server = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    password = password_once_ready(server.stdout)
    sign_in = {"email": "admin@surfrehab.example", "password": password}
    answer = requests.post(f"{url}/api/v1/auth/token", json=sign_in, timeout=30).json()
    simulator = (instance / "simulator_url").read_text().strip().removesuffix("/v1")
    yield System(url, answer["access_token"], server.pid, simulator)
    server.terminate()
    server.communicate(timeout=30)


def test_the_documented_client_sees_its_own_sync_from_start_to_end(system: System) -> None:
    with ThreadPoolExecutor(50) as fifty:
        starts = list(fifty.map(lambda _: system.ask("POST", "/cliniko/sync-all/1"), range(50)))

    assert Counter(start.status_code for start in starts) == {200: 1, 429: 49}
    (started,) = (start.json() for start in starts if start.status_code == 200)
    refusals = [start for start in starts if start.status_code == 429]
    assert {r.json()["error_code"] for r in refusals} == {"SYNC_ALREADY_RUNNING"}
    assert {r.json()["details"]["sync_log_id"] for r in refusals} == {started["sync_log_id"]}
    assert all(int(r.headers["Retry-After"]) >= 1 for r in refusals)

    seen = list(system.polled(seconds=30))
    percents = [log["metadata"]["progress_percent"] for log in seen]
    assert {log["id"] for log in seen} == {started["sync_log_id"]}
    assert percents == sorted(percents)
    assert (seen[-1]["status"], percents[-1]) == ("completed", 100.0)
    assert seen[-1]["records_processed"] == 648

    again = system.ask("POST", "/cliniko/sync-all/1")
    assert (again.status_code, again.json()["error_code"]) == (429, "RATE_LIMITED")


def test_a_killed_worker_is_replaced_and_its_sync_completes(system: System) -> None:
    requests.post(f"{system.simulator}/_control/settings", json={"latency_ms": 1500}, timeout=10)
    command = [sys.executable, "-m", "flask", "--app", "webapp", "sync", "1"]
    subprocess.run(command, cwd=ROOT, env=_environ(system), check=True)
    stored = next(log for log in system.polled(seconds=30) if log["records_success"])
    assert stored["status"] == "running"

    work_horse = next(pid for pid in descendants(system.pid) if _is_work_horse(pid))
    os.kill(_parent_of(work_horse), signal.SIGKILL)

    *_, log = system.polled(seconds=60)
    assert (log["status"], log["records_processed"]) == ("completed", 648)


def _environ(system: System) -> dict[str, str]:
    """The settings of the running system, for a command beside it."""
    raw = Path(f"/proc/{system.pid}/environ").read_bytes().split(b"\0")
    return dict(item.decode().split("=", 1) for item in raw if b"=" in item)


def _is_work_horse(pid: int) -> bool:
    return _command(pid).count("worker.py") == 1 and "worker.py" in _command(_parent_of(pid))


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
