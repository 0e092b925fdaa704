"""How long a sync takes, and what it needs, beside what a clinic would take instead.

    .venv/bin/python -m bench.sync --sizes 648 10000 --latencies 0 250 --rounds 5

All read from the same simulator in the same run, in turns. Ours goes the whole way: POST, Redis, a
real worker, every list, the catch-up, until the API says "completed". The peers copy the active
patients only: the floor (bare concurrent fetching, one raw bulk upsert), dlt's REST source with
merge, and the loop by hand (50 a page, a commit for each patient). Their clock leaves out the start
of Python, which a service has behind it; the table of whole processes counts it in. The first sync
meets an empty database, the second one in which nothing has changed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.ours import Sync, running
from bench.peers.installed import PEERS, PeerRun, python_of_peers, run_peer
from bench.system import active_of, postgresql, simulator
from bench.tables import origin, publish, table
from tests.support.postgres_server import PostgresServer

FIRST, SECOND = "first", "second"
Run = TypeVar("Run")


@dataclass(frozen=True)
class Case:
    """What is measured: how many patients, at which latency, into which kind of database."""

    patients: int
    latency_ms: float
    database: str


@dataclass
class Measured:
    """Every run of one case, by whether it was the first or the second into its database."""

    ours: dict[str, list[Sync]] = field(default_factory=lambda: defaultdict(list))
    peers: dict[tuple[str, str], list[PeerRun]] = field(default_factory=lambda: defaultdict(list))
    failed: set[str] = field(default_factory=set)
    touched: int = 0
    rewritten: int = 0


def main() -> None:
    """Measure case after case, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[648, 10_000, 100_000])
    parser.add_argument("--latencies", type=float, nargs="+", default=[0, 250], help="in ms")
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", default="", help="peers that are left out, by commas")
    parser.add_argument("--markdown", type=Path, help="a file for the tables")
    said = parser.parse_args()
    peers = [name for name in PEERS if name not in said.without.split(",")]
    python = python_of_peers() if peers else Path(sys.executable)
    measured: dict[Case, Measured] = {}
    with ExitStack() as stack:
        server = stack.enter_context(postgresql()) if "postgresql" in said.databases else None
        for patients in said.sizes:
            for latency_ms in said.latencies:
                with simulator(patients, latency_ms) as cliniko:
                    for database in said.databases:
                        case = Case(patients, latency_ms, database)
                        measured[case] = Measured()
                        for _ in range(said.rounds):
                            _round(case, measured[case], cliniko, server, peers, python)
                        # Hours may lie behind this: whoever breaks it off keeps what is there.
                        publish("\n\n".join(_report(measured, said.rounds, peers)), said.markdown)


def _round(
    case: Case,
    into: Measured,
    cliniko: str,
    server: PostgresServer | None,
    peers: Sequence[str],
    python: Path,
) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:

        def empty(name: str) -> str:
            if case.database == "sqlite":
                return f"sqlite:///{folder}/{name}.db"
            assert server is not None
            return server.create(f"bench_{name}")

        with running(Path(folder), cliniko, database_url=empty("ours")) as system:
            into.ours[FIRST].append(system.sync())
            before = system.rows()
            assert len(before) == case.patients, len(before)
            system.open_window()
            into.ours[SECOND].append(system.sync())
            after = system.rows()
        into.touched = sum(after[key][0] != row[0] for key, row in before.items())
        into.rewritten = sum(after[key][1] != row[1] for key, row in before.items())
        for name in peers:
            database = empty(name)
            for which in (FIRST, SECOND):
                try:
                    run = run_peer(python, name, cliniko, database)
                except subprocess.CalledProcessError as error:
                    print(f"{name} has failed: {error.stderr[-500:]}", file=sys.stderr)
                    into.failed.add(name)
                    break
                assert run.rows == active_of(case.patients), (name, run.rows)
                into.peers[name, which].append(run)


def _report(measured: dict[Case, Measured], rounds: int, peers: Sequence[str]) -> list[str]:
    """The tables, each with what it shows above it."""
    parts = [f"{origin('bench.sync')}\n\nMedians of {rounds} rounds, in seconds."]
    for which in (FIRST, SECOND):
        rows = [_row(case, each, which, peers) for case, each in measured.items()]
        titles = ["", "ours", *peers, *(f"{name} / ours" for name in peers if name != "floor")]
        if "floor" in peers:
            titles.insert(2, "ours / floor")
            titles += ["goal"] if which == FIRST else []
        parts += [f"The {which} sync:", table(titles, rows)]
    own = [_ours_row(case, each) for case, each in measured.items()]
    titles = ["ours", "requests", "CPU s of 100,000, first", "second", "peak MB", "of it own (PSS)"]
    titles += ["rows touched by the second", "rewritten"]
    parts += ["What our work-horse needs:", table(titles, own)]
    if peers:
        parts += ["What the peers need, as whole processes (first run):"]
        parts += [_peer_table(measured, peers)]
    return parts


def _row(case: Case, each: Measured, which: str, peers: Sequence[str]) -> list[str]:
    ours = _median(each.ours[which], lambda run: run.seconds)
    theirs = {
        name: _median(each.peers[name, which], lambda run: run.seconds)
        for name in peers
        if name not in each.failed
    }
    cells = [_name(case), f"{ours:.2f}"]
    if "floor" in peers:
        cells.append(f"{ours / theirs['floor']:.2f}")
    cells += [f"{theirs[name]:.2f}" if name in theirs else "error" for name in peers]
    cells += [
        f"{theirs[name] / ours:.1f}" if name in theirs else "" for name in peers if name != "floor"
    ]
    if "floor" in peers and which == FIRST:
        goal = _goal(case, theirs["floor"])
        cells.append("" if goal is None else f"{goal:.2f} {'met' if ours <= goal else 'missed'}")
    return cells


def _goal(case: Case, floor: float) -> float | None:
    """The seconds that the first sync may take."""
    if case.latency_ms == 0:
        return None if case.patients < 10_000 else 1.5 * floor + 0.5
    return 1.5 if case.patients == 648 else 1.3 * floor


def _ours_row(case: Case, each: Measured) -> list[str]:
    def cpu(which: str) -> str:
        used = _median(each.ours[which], lambda run: run.cpu_seconds)
        return f"{used / case.patients * 100_000:.1f}"

    runs = each.ours[FIRST] + each.ours[SECOND]
    return [
        _name(case),
        str(each.ours[FIRST][0].requests),
        cpu(FIRST),
        cpu(SECOND),
        f"{max(run.peak_mb for run in runs):.1f}",
        f"{max(run.pss_mb for run in runs):.1f}",
        str(each.touched),
        str(each.rewritten),
    ]


def _peer_table(measured: dict[Case, Measured], peers: Sequence[str]) -> str:
    titles = ["", *(f"{name}: s, CPU s, peak MB" for name in peers)]
    rows = []
    for case, each in measured.items():
        cells = [_name(case)]
        for name in peers:
            runs = each.peers[name, FIRST]
            whole = _median(runs, lambda run: run.whole_seconds)
            cpu = _median(runs, lambda run: run.cpu_seconds)
            peak = max((run.peak_mb for run in runs), default=0.0)
            cells.append(f"{whole:.2f}, {cpu:.2f}, {peak:.0f}" if runs else "error")
        rows.append(cells)
    return table(titles, rows)


def _name(case: Case) -> str:
    return f"{case.patients:,}, {case.latency_ms:g} ms, {case.database}"


def _median(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    return statistics.median(map(figure, runs)) if runs else 0.0


if __name__ == "__main__":
    main()
