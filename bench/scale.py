"""What a first sync costs by size: time, requests, memory and the database, and the slope of each.

    .venv/bin/python -m bench.scale --sizes 1000 10000 100000 1000000

Cliniko answers at once and without a limit, so what is seen is ours and the simulator's. A slope of
1 is a cost that grows as the clinic does, 0 one that does not grow.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from math import log
from pathlib import Path

from bench.ours import Sync, running
from bench.system import postgresql, simulator
from bench.tables import origin, publish, table

_TITLES = ["patients", "seconds", "requests", "CPU s", "peak MB", "of it own (PSS)", "database MB"]


@dataclass(frozen=True)
class Cost:
    """What one first sync has taken."""

    patients: int
    sync: Sync
    database_mb: float

    @property
    def figures(self) -> list[float]:
        """In the order of the table."""
        sync = self.sync
        memory = [sync.peak_mb, sync.pss_mb]
        return [sync.seconds, sync.requests, sync.cpu_seconds, *memory, self.database_mb]


def main() -> None:
    """Measure each size once, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--markdown", type=Path, help="a file for the tables")
    said = parser.parse_args()
    parts = [origin("bench.scale")]
    for database in said.databases:
        costs = []
        for patients in said.sizes:
            costs.append(_cost(patients, database))
            print(", ".join(_row(costs[-1])), file=sys.stderr, flush=True)
        slopes = [_slopes(small, large) for small, large in pairwise(costs)]
        parts += [f"A first sync into {database}:"]
        parts += [table(_TITLES, [*map(_row, costs), *slopes])]
    publish("\n\n".join(parts), said.markdown)


def _cost(patients: int, database: str) -> Cost:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        url = ""
        if database == "postgresql":
            url = stack.enter_context(postgresql()).create("bench")
        cliniko = stack.enter_context(simulator(patients, 0))
        system = stack.enter_context(running(folder, cliniko, database_url=url))
        sync = system.sync()
        assert sync.records == patients, sync
        return Cost(patients, sync, system.database_mb())


def _row(cost: Cost) -> list[str]:
    seconds, requests, cpu, peak, own, size = cost.figures
    return [
        f"{cost.patients:,}",
        f"{seconds:.2f}",
        f"{requests:,.0f}",
        f"{cpu:.2f}",
        f"{peak:.1f}",
        f"{own:.1f}",
        f"{size:.1f}",
    ]


def _slopes(small: Cost, large: Cost) -> list[str]:
    """By how much each figure grows: the exponent of the size."""
    wider = log(large.patients / small.patients)
    pairs = zip(small.figures, large.figures, strict=True)
    slopes = [log(more / less) / wider for less, more in pairs]
    name = f"slope, {small.patients:,} to {large.patients:,}"
    return [name, *(f"{slope:.2f}" for slope in slopes)]


if __name__ == "__main__":
    main()
