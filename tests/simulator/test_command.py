"""`python -m simulator`: Cliniko as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from tests.simulator.asking import HEADERS

COMMAND = (sys.executable, "-m", "simulator", "--port", "0")


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """The processes that a test has started; none of them outlives it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(started: list[subprocess.Popen[str]], *arguments: str) -> str:
    """Start a simulator and return the address it gives when it is ready."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True)
    started.append(process)
    assert process.stdout
    return process.stdout.readline().split(" at ")[1].strip()


def total(url: str, path: str, key: str) -> int:
    answer = requests.get(f"{url}{path}", headers=HEADERS, auth=(key, ""), timeout=10)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total_entries"])


def test_the_demo_clinic_is_ready_when_it_says_so(started: list[subprocess.Popen[str]]) -> None:
    url = start(started, "--key", "demo-key-au1")
    assert total(url, "/patients", "demo-key-au1") == 602
    assert total(url, "/patients/archived", "demo-key-au1") == 36 + 5
    assert total(url, "/patients/deleted", "demo-key-au1") == 5
    public = requests.get(
        f"{url}/settings/public", headers=HEADERS, auth=("demo-key-au1", ""), timeout=10
    ).json()
    assert (public["account"]["id"], public["account"]["name"]) == ("12345", "Surf Rehab")


def test_another_clinic_can_be_had(started: list[subprocess.Popen[str]]) -> None:
    url = start(
        started,
        *("--key", "k-uk2", "--patients", "20", "--archived", "3", "--merged", "0"),
        *("--deleted", "1", "--rate-limit", "1", "--name", "Northside", "--account-id", "67890"),
    )
    assert total(url, "/patients", "k-uk2") == 16
    refused = requests.get(f"{url}/user", headers=HEADERS, auth=("k-uk2", ""), timeout=10)
    assert refused.status_code == 429


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told(started: list[subprocess.Popen[str]], number: signal.Signals) -> None:
    url = start(started)
    session = requests.Session()  # a connection that is kept alive does not keep it
    session.get(f"{url}/user", headers=HEADERS, auth=("invented-key-au1", ""), timeout=10)
    started[0].send_signal(number)
    assert started[0].wait(10) == 0
    session.close()


def test_a_taken_port_is_said_in_a_sentence(started: list[subprocess.Popen[str]]) -> None:
    port = start(started).split(":")[2].removesuffix("/v1")
    second = subprocess.run(
        [*COMMAND[:-1], port], capture_output=True, text=True, timeout=20, check=False
    )
    assert second.returncode == 1
    assert second.stderr.startswith(f"The simulator cannot listen at 127.0.0.1:{port}:")
    assert "Traceback" not in second.stderr


def test_it_refuses_a_clinic_in_which_nobody_is_active() -> None:
    refused = subprocess.run(
        [*COMMAND, "--patients", "5", "--archived", "5", "--merged", "0", "--deleted", "0"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert refused.returncode == 2
    assert "active" in refused.stderr
