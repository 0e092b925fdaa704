"""What becomes of a sync under Cliniko's limit of 200 requests a minute, which is on here.

    .venv/bin/python -m bench.limit --patients 30000

`alone`: one clinic, beside the least time that the limit allows. `floor`, `dlt`, `by_hand`: what
the peers make of it. `shared`: two clinics with one key at once, while somebody presses the
connection test as often as the API lets them. `small`: 648 patients on a fresh minute.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import requests

from bench.ours import Running, running
from bench.peers.installed import PEERS, python_of_peers, run_peer
from bench.system import simulator
from bench.tables import origin, publish, table

LIMIT = 200
SMALL = 648
_PRESSED_EVERY = 6.1  # seconds: 10 a minute for each caller

_TITLES = ["", "seconds", "of the least time", "least", "requests", "429s", "longest silence, s"]


def main() -> None:
    """Run part after part, each on a fresh minute, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=30_000)
    parts: dict[str, Callable[[str, Path], tuple[float, str]]] = {"alone": _alone}
    parts |= {name: _peer(name) for name in PEERS} | {"shared": _shared, "small": _small}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    said = parser.parse_args()
    rows, notes = [], []
    for name in said.only:
        patients = SMALL if name == "small" else said.patients
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            simulator(patients, 0, rate_limit=LIMIT) as cliniko,
        ):
            seconds, note = parts[name](cliniko, Path(folder))
            rows.append(_row(f"{name}, {patients:,}", seconds, cliniko))
            notes.append(f"- {name}: {note}")
            print(", ".join(rows[-1]), notes[-1], file=sys.stderr, flush=True)
    least = (
        f"The least time is a minute for each {LIMIT} requests that were let in before the last "
        f"one: {LIMIT} go at once, and the next not before the first is a minute old."
    )
    text = [origin("bench.limit"), least, table(_TITLES, rows), "\n".join(notes)]
    publish("\n\n".join(text), said.markdown)


def _alone(cliniko: str, folder: Path) -> tuple[float, str]:
    with running(folder, cliniko, rate_limit=LIMIT) as system:
        sync = system.sync()
        return sync.seconds, f"{sync.records:,} patients, {sync.cpu_seconds:.1f} CPU s"


def _peer(name: str) -> Callable[[str, Path], tuple[float, str]]:
    def copy(cliniko: str, folder: Path) -> tuple[float, str]:
        python = python_of_peers()
        began = time.monotonic()
        try:
            run = run_peer(python, name, cliniko, f"sqlite:///{folder}/copy.db")
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or [""])[-1]
            return time.monotonic() - began, f"ended in an error: {last[:120]}"
        return run.seconds, f"{run.rows:,} patients"

    return copy


def _shared(cliniko: str, folder: Path) -> tuple[float, str]:
    with running(folder, cliniko, rate_limit=LIMIT, clinics=2, workers=2) as system:
        began = time.monotonic()
        with _pressing(system) as took:
            logs = [system.start(1), system.start(2)]
            syncs = [system.see_through(log, began=began) for log in logs]
    refused = sum(milliseconds is None for milliseconds in took)
    answered = [milliseconds for milliseconds in took if milliseconds is not None]
    tested = f"{len(took)} connection tests, {refused} refused"
    slowest = f"the slowest answer after {max(answered, default=0.0):.0f} ms"
    patients = " and ".join(f"{sync.records:,}" for sync in syncs)
    return max(sync.seconds for sync in syncs), f"{patients} patients; {tested}, {slowest}"


def _small(cliniko: str, folder: Path) -> tuple[float, str]:
    with running(folder, cliniko, rate_limit=LIMIT) as system:
        sync = system.sync()
        return sync.seconds, "it waited" if sync.was_seen_waiting else "it never waited"


@contextmanager
def _pressing(system: Running) -> Iterator[list[float | None]]:
    """The milliseconds of each connection test until the end; None where there was no answer."""
    took: list[float | None] = []
    over = Event()

    def press() -> None:
        url = f"{system.api}/cliniko/test-connection/1"
        while not over.wait(_PRESSED_EVERY):
            began = time.monotonic()
            answer = requests.get(url, headers=system.headers, timeout=60)
            connected = answer.status_code == requests.codes.ok
            took.append((time.monotonic() - began) * 1000 if connected else None)
            if not connected:
                print(f"refused: {answer.text}", file=sys.stderr, flush=True)

    thread = Thread(target=press)
    thread.start()
    yield took
    over.set()
    thread.join()


def _row(name: str, seconds: float, cliniko: str) -> list[str]:
    answered: dict[str, int] = _control(cliniko, "state")["answered"]
    refused = answered.get("429", 0)
    let_in = sum(answered.values()) - refused
    least = (let_in - 1) // LIMIT * 60
    moments = [seen["time"] for seen in _control(cliniko, "requests")]
    silence = max((later - one for one, later in pairwise(moments)), default=0.0)
    share = f"{seconds / least:.3f}" if least else ""
    figures = [f"{seconds:.1f}", share, str(least), str(let_in), str(refused), f"{silence:.1f}"]
    return [name, *figures]


def _control(cliniko: str, what: str) -> Any:
    return requests.get(f"{cliniko.removesuffix('/v1')}/_control/{what}", timeout=60).json()


if __name__ == "__main__":
    main()
