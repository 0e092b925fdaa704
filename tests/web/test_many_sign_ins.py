"""A7: many passwords at once, each of which takes 64 MiB to check: there is memory for a few, and
for those who want nothing but a page there is a thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import requests

from tests.cast import PASSWORD
from tests.support.processes import descendants
from tests.web.conftest import Web
from webapp.services import passwords

AT_ONCE = 20
PEOPLE = ("alice", "bob", "charlie")
BESIDE_MIB = 48  # what threads, answers and the allocator may take besides
ARGON2_MIB = passwords._hasher.memory_cost // 1024


def megabytes(pid: int, what: str) -> float:
    """What the process holds in memory now (VmRSS), or has held at most (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (size,) = [line.split()[1] for line in lines if line.startswith(f"{what}:")]
    return int(size) / 1024


def processes_of(web: Web) -> list[int]:
    """The web server's: the one that listens, and two that answer."""
    address = str(web.address).encode()
    found = [
        pid
        for pid in descendants(os.getpid())
        if address in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(found) == 3
    return found


def sign_in(web: Web, number: int) -> int:
    """Several people: one alone is not heard so often."""
    body = {"email": f"{PEOPLE[number % len(PEOPLE)]}@example.com", "password": PASSWORD}
    return requests.post(f"{web.url}/api/v1/auth/token", json=body, timeout=60).status_code


def test_many_who_sign_in_at_once_take_little_memory_and_hold_no_page_up(
    web: Web, record_property: Callable[[str, Any], None]
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as crowd:
        assert set(crowd.map(lambda number: sign_in(web, number), range(4))) == {200}
        pids = processes_of(web)
        before = {pid: megabytes(pid, "VmRSS") for pid in pids}
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins anew

        began = time.monotonic()
        flood = [crowd.submit(sign_in, web, number) for number in range(2 * AT_ONCE)]
        waits: list[float] = []
        while not all(each.done() for each in flood):
            asked = time.monotonic()
            assert requests.get(f"{web.url}/sign-in", timeout=60).status_code == 200
            waits.append(time.monotonic() - asked)
        lasted = time.monotonic() - began

    assert len(waits) >= 4
    most = quantiles(waits, n=20, method="inclusive")[-1]
    more = [megabytes(pid, "VmHWM") - before[pid] for pid in pids]
    told = f"{2 * AT_ONCE} in {lasted:.1f} s, {max(more):.0f} MiB more in a process; "
    told += f"{len(waits)} pages meanwhile, 95 in 100 within {most:.2f} s, the "
    told += f"slowest after {max(waits):.2f} s"
    print(f"sign-ins at once: {told}")
    record_property("sign-ins at once", told)
    assert {each.result() for each in flood} == {200}
    assert max(more) > ARGON2_MIB / 2, "nothing was checked while it was measured"
    assert max(more) <= passwords.AT_ONCE * ARGON2_MIB + BESIDE_MIB
    # Nobody waits for the end of it, however quick the machine is.
    assert median(waits) < lasted / 4
    assert most < lasted / 2
