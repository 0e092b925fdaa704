"""Makes injections in several systems at once and sums them up.

script/faults                  all of them, 40 minutes and more; the report goes to docs/
script/faults --quick          the quick set
script/faults --only C4 K      faults whose letter and number begin so
script/faults --again FOLDER   those of a run with --keep FOLDER that had a problem; then the report
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from config import ROOT
from tests.faults.catalogue import BOTH, Case, cases
from tests.faults.injection import Record
from tests.faults.report import is_broken, problems, write_report

WORKERS = 3  # one more than injections at a time: a zombie keeps its worker
PATIENT_WORKERS = 8


def run(
    chosen: Sequence[tuple[int, Case]], folder: Path, *, quick: bool, lanes: int, slack: float = 1.0
) -> list[Record]:
    """Make these injections, `lanes` systems for each database; the records as they came.

    `slack`: how many times as long each may take, on a machine that has other things to do.
    """
    started: list[tuple[subprocess.Popen[bytes], Path]] = []
    for database in BOTH:
        mine = [(number, case) for number, case in chosen if case.database == database]
        patient = [number for number, case in mine if case.fault.patient]
        others = [number for number, case in mine if not case.fault.patient]
        split = [(others[lane::lanes], WORKERS) for lane in range(lanes)] + [
            (patient, PATIENT_WORKERS)
        ]
        for numbers, workers in split:
            if numbers:
                order = {"quick": quick, "database": database, "workers": workers, "slack": slack}
                started.append(_start(folder, len(started), order | {"cases": numbers}))
    for lane, _ in started:
        lane.wait()
    return read(folder)


def _start(folder: Path, lane: int, order: dict[str, Any]) -> tuple[subprocess.Popen[bytes], Path]:
    out = folder / f"lane-{lane}.jsonl"
    file = folder / f"lane-{lane}.json"
    file.write_text(json.dumps(order | {"out": str(out)}))
    command = [sys.executable, "-m", "tests.faults.lane", str(file)]
    with (folder / f"lane-{lane}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log), out


def main() -> int:
    """Exit code 1: a promise was broken, or an injection has left no line."""
    parser = argparse.ArgumentParser(prog="script/faults")
    parser.add_argument("--quick", action="store_true", help="about 170 instead of all")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings, as C4 or K")
    parser.add_argument("--lanes", type=int, default=2, help="systems for each database")
    parser.add_argument("--keep", type=Path, help="a folder for the lines and the logs")
    parser.add_argument("--again", type=Path, help="a folder that --keep was given before")
    said = parser.parse_args()
    everything = list(enumerate(cases(quick=said.quick)))
    chosen = [
        (number, case)
        for number, case in everything
        if not said.only or case.fault.id.startswith(tuple(said.only))
    ]
    kept: list[Record] = []
    if said.again:
        kept = [each for each in read(said.again) if not is_broken(each)]
        good = {key(each) for each in kept}
        chosen = [(number, case) for number, case in everything if case.key not in good]
    begun = time.monotonic()
    with TemporaryDirectory(prefix="faults-") as temporary:
        folder = said.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        records = run(chosen, folder, quick=said.quick, lanes=said.lanes)
    seconds = time.monotonic() - begun
    broken = problems(records, expected=len(chosen))
    if not said.only and not said.quick:
        write_report([*kept, *records], seconds, again=len(chosen) if said.again else 0)
    print(f"{len(chosen)} injections in {seconds:.0f} s, {len(broken)} with a problem")
    for text in broken:
        print(text)
    return 1 if broken else 0


def read(folder: Path) -> list[Record]:
    """The lines of a run."""
    lines = [line for out in folder.glob("*.jsonl") for line in out.read_text().splitlines()]
    return [Record(**json.loads(line)) for line in lines]


def key(record: Record) -> tuple[str, str, str, int, str]:
    """What tells an injection from all others; `Case.key` is the same."""
    return record.fault, record.name, record.at, record.seed, record.database


if __name__ == "__main__":
    sys.exit(main())
