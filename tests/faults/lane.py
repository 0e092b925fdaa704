"""A lane: one system, and the injections that are made in it.

python -m tests.faults.lane FILE, where FILE holds what to do, see `main`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.catalogue import Case, cases
from tests.faults.injection import Injection, Record
from tests.faults.parts import Parts

BESIDE_EVERY_SECONDS = 10.0


def inject(parts: Parts, case: Case) -> Record:
    """Make one injection, whatever happens in it."""
    fault = case.fault
    record = Record(
        fault.id, fault.name, case.at, case.seed, case.database, " or ".join(fault.ends)
    )
    try:
        with_copy = case.seed % 2 == 1 and not fault.patient
        it = Injection(parts, record, with_copy=with_copy, **fault.account)
        fault.action(it)
        if fault.ends != ("gone",):
            it.ends(*fault.ends, within=fault.within)
            it.check()
    except Exception:
        record.problems.append(traceback.format_exc(limit=-3))
    return record


class Beside:
    """A clinic that nothing is done to, beside all the others: its syncs must not notice."""

    def __init__(self, parts: Parts) -> None:
        self.record = Record("I8", "the clinic beside", "any", 0, parts.database, "completed")
        self._it = Injection(parts, self.record, with_copy=False, active=30, archived=3)
        self._leave = threading.Event()
        self._syncs = 0
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()

    def end(self) -> Record:
        """The record of all its syncs."""
        self._leave.set()
        self._thread.join()
        self.record.seen = f"completed, {self._syncs} times"
        return self.record

    def _go_on(self) -> None:
        while not self._leave.wait(BESIDE_EVERY_SECONDS):
            look = self._it.run_sync()
            if look is None or look.outcome != "completed":
                self.record.problems.append(f"ended as {look and look.outcome}")
            self._syncs += 1


def main() -> int:
    """Make the injections that the file names, and write a line for each to the file `out`."""
    order = json.loads(Path(sys.argv[1]).read_text())
    everything = list(cases(quick=order["quick"]))
    chosen = [everything[number] for number in order["cases"]]
    lock = threading.Lock()

    def write(record: Record) -> None:
        with lock, Path(order["out"]).open("a") as out:
            out.write(record.to_line() + "\n")

    with tempfile.TemporaryDirectory(prefix="faults-", dir="/tmp") as folder:
        path = Path(folder)
        try:
            more = {"workers": order["workers"], "slack": order["slack"]}
            with Parts(path / "system", order["database"], **more) as parts:
                _together(parts, [case for case in chosen if not case.fault.alone], write)
                for case in chosen:
                    if case.fault.alone:
                        write(inject(parts, case))
        finally:
            _keep_logs(path / "system", Path(order["out"]).with_suffix(".logs"))
    return 0


def _together(parts: Parts, chosen: Sequence[Case], write: object) -> None:
    if not chosen:
        return
    assert callable(write)
    beside = Beside(parts)
    with ThreadPoolExecutor(parts.worker_count - 1) as pool:
        for record in pool.map(lambda case: inject(parts, case), chosen):
            write(record)
    write(beside.end())


def _keep_logs(system: Path, there: Path) -> None:
    there.mkdir(exist_ok=True)
    for log in system.glob("*/log/*.log"):
        (there / f"{log.parent.parent.name}-{log.name}").write_bytes(log.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
