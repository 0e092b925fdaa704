"""A thousand dashboards that watch a sync, each asking every two seconds, and a hundred more.

    .venv/bin/python -m bench.poll --rounds 5

Web server, worker, Redis, simulated Cliniko, database and those who ask share the machine. The
thousand show the live card of the sync that runs; the hundred show the clinics page, which asks
every five seconds, half of them as an admin, who sees every clinic. All open within their first
two or five seconds, as the sync begins; their first answers are counted apart. Cliniko takes 250 ms
for an answer, unless told otherwise. Syncs alone and watched take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import servers
from bench.ours import PASSWORD, Running, Sync, running
from bench.system import cpu_seconds, postgresql, simulator
from bench.tables import origin, publish, table
from config import ROOT
from tests.support.processes import descendants
from webapp.models import Role
from webapp.services import people

AGENT = "dashboards"
CLINICS = 5
CARD, ONE, ALL = "live card", "clinics page, one clinic", f"clinics page, {CLINICS} clinics"
EVERY = {CARD: 2.0, ONE: 5.0, ALL: 5.0}  # seconds, as the pages do
ON_THE_LIST = 50  # with the clinics page open, of each kind
SESSIONS = 25  # of each of the two people who look; dashboards share them


@dataclass
class Measured:
    """All rounds of one kind of database and web server."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    alone: list[Sync] = field(default_factory=list)
    watched: list[Sync] = field(default_factory=list)
    web_cpu: float = 0.0
    own_cpu: float = 0.0
    seconds: float = 0.0


class Dashboards:
    """The process that asks, from when it is told which sync runs until it is told to stop."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bench.dashboards"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, host: str, port: int, pages: list[dict[str, Any]]) -> None:
        told = {"host": host, "port": port, "agent": AGENT, "pages": pages}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """What came back."""
        answers: dict[str, Any] = json.loads(self._process.communicate("stop\n", timeout=60)[0])
        return answers


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--servers", nargs="+", choices=list(servers.KINDS), default=["as it is"])
    parser.add_argument("--dashboards", type=int, default=1000)
    parser.add_argument("--patients", type=int, default=50_000)
    parser.add_argument("--latency-ms", type=float, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", type=Path, help="a file for the tables")
    said = parser.parse_args()
    found: dict[tuple[str, str], Measured] = {}
    for database in said.databases:
        for server in said.servers:
            measured = found[database, server] = Measured()
            with _system(database, server, said.patients, said.latency_ms) as site:
                for _ in range(said.rounds):
                    _round(site, said.dashboards, measured)
            publish(_tables(found, said.dashboards), said.markdown)


@contextmanager
def _system(database: str, server: str, patients: int, latency_ms: float) -> Iterator[Running]:
    """The running system after a first sync of every clinic."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        url = ""
        if database == "postgresql":
            url = stack.enter_context(postgresql()).create("polled")
        cliniko = stack.enter_context(simulator(patients, latency_ms))
        site = stack.enter_context(
            running(folder, cliniko, serve=servers.KINDS[server], database_url=url, clinics=CLINICS)
        )
        people.create("all@example.com", PASSWORD, role=Role.ADMIN)
        people.create("one@example.com", PASSWORD, role=Role.MANAGER, organization_id=1)
        for clinic in range(1, CLINICS + 1):
            site.sync(clinic)
        yield site


def _round(site: Running, count: int, measured: Measured) -> None:
    """One sync alone, then one with all dashboards open, by people who have just signed in: polls
    keep nobody signed in."""
    site.open_window()
    measured.alone.append(site.sync(memory=False))
    dashboards = Dashboards()
    site.open_window()
    whose = {CARD: "one", ONE: "one", ALL: "all"}
    cookies = {
        name: [_cookie(site, f"{name}@example.com") for _ in range(SESSIONS)]
        for name in ("one", "all")
    }
    used, began, web = site.worker_cpu_seconds(), time.monotonic(), _web_cpu_seconds()
    log_id = site.start()
    paths = {CARD: f"/clinics/1/syncs/{log_id}/progress", ONE: "/clinics", ALL: "/clinics"}
    counts = {CARD: count, ONE: ON_THE_LIST, ALL: ON_THE_LIST}
    pages = [
        {"kind": kind, "path": paths[kind], "cookie": cookie, "every": EVERY[kind]}
        | {"dashboards": len(range(nth, counts[kind], SESSIONS))}
        for kind in EVERY
        for nth, cookie in enumerate(cookies[whose[kind]])
    ]
    dashboards.begin(site.address.host, site.address.port, pages)
    measured.watched.append(site.see_through(log_id, began=began, used=used, memory=False))
    measured.web_cpu += _web_cpu_seconds() - web
    measured.seconds += time.monotonic() - began
    answers = dashboards.end()
    measured.own_cpu += answers["cpu_seconds"]
    measured.errors.update(answers["errors"])
    for kind, milliseconds in answers["milliseconds"].items():
        measured.milliseconds[kind] += milliseconds


def _cookie(site: Running, email: str) -> str:
    """That of this person's session."""
    session = site.sign_in(email, agent=AGENT)
    return "; ".join(f"{name}={value}" for name, value in session.cookies.items())


def _web_cpu_seconds() -> float:
    """What the web server's processes have used so far: those of ours that are no worker."""
    return sum(cpu_seconds(pid) for pid in descendants(os.getpid()) if _is_web(pid))


def _is_web(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return any(name in command for name in (b"gunicorn", b"granian", b"waitress"))


def _tables(found: dict[tuple[str, str], Measured], dashboards: int) -> str:
    answers, syncs = [], []
    for (database, server), measured in found.items():
        name = f"{database}, {server}"
        errors = sum(measured.errors.values())
        for kind, milliseconds in sorted(measured.milliseconds.items()):
            times = sorted(milliseconds)
            a_second = len(times) / measured.seconds
            answers.append(
                [
                    f"{name}: {kind}",
                    *(f"{each:,.1f}" for each in (a_second, statistics.median(times))),
                    *(f"{times[int(len(times) * part)]:,.1f}" for part in (0.99, 0.999)),
                    f"{times[-1]:,.0f}",
                ]
            )
        alone, watched = (
            statistics.median(each.seconds for each in syncs)
            for syncs in (measured.alone, measured.watched)
        )
        used = (
            measured.web_cpu / measured.seconds,
            sum(each.cpu_seconds for each in measured.watched) / measured.seconds,
            measured.own_cpu / measured.seconds,
        )
        syncs.append(
            [
                name,
                f"{watched / alone:.2f}",
                f"{alone:.2f}",
                f"{watched:.2f}",
                *(f"{each:.2f}" for each in used),
                f"{errors} {dict(measured.errors) or ''}",
            ]
        )
    return "\n".join(
        (
            origin("bench.poll"),
            "",
            f"{dashboards:,} dashboards, milliseconds from when an answer was due to be asked for:",
            "",
            table(["", "a second", "median", "99 %", "99.9 %", "longest"], answers),
            "",
            "The sync, in seconds, and how much of a core each needed meanwhile:",
            "",
            table(
                [
                    "",
                    "watched / alone",
                    "alone",
                    "watched",
                    "web",
                    "worker",
                    "those who ask",
                    "errors",
                ],
                syncs,
            ),
        )
    )


if __name__ == "__main__":
    main()
