"""What came of the injections: what is wrong, and the page in docs/."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from config import ROOT
from tests.faults.injection import Record

PAGE = ROOT / "docs" / "faults.md"
KINDS = {
    "C": "What Cliniko answers",
    "D": "Patients change while we read",
    "B": "Databases",
    "Q": "Redis",
    "K": "Processes",
    "X": "Concurrency, time and change",
}


def problems(records: Sequence[Record], *, expected: int) -> list[str]:
    """What must not be: a line for each injection that went wrong or is missing."""
    made = [record for record in records if record.fault[0] in KINDS]
    broken = [
        f"{each.fault} {each.name} ({each.at}, seed {each.seed}, {each.database}): "
        + "; ".join(each.problems)
        for each in records
        if is_broken(each)
    ]
    if len(made) != expected:
        broken.append(f"{len(made)} injections have left a line, not {expected}")
    return broken


def is_broken(record: Record) -> bool:
    """Whether a promise was not kept."""
    counts = (record.lost, record.duplicates, record.false_deletions, record.stuck)
    return bool(record.problems or any(counts))


def sentence(records: Sequence[Record]) -> str:
    """The one sentence that may be said of a run."""
    made = [record for record in records if record.fault[0] in KINDS]
    kinds = len({record.fault for record in made})
    slowest = max((record.take_over_seconds or 0.0 for record in made), default=0.0)
    return (
        f"On {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}, {_machine()}: "
        f"{len(made):,} faults of {kinds} kinds injected (real Redis, real process "
        f"kills, SQLite and PostgreSQL, simulated Cliniko): "
        f"{sum(r.lost for r in made)} patients lost, "
        f"{sum(r.duplicates for r in made)} duplicates, "
        f"{sum(r.false_deletions for r in made)} false deletions, "
        f"{sum(r.stuck for r in made)} runs stuck for more than 60 s; "
        f"slowest take-over {slowest:.1f} s."
    )


def write_report(records: Sequence[Record], seconds: float, *, again: int = 0) -> None:
    """Write docs/faults.md anew; `again` of the injections were made a second time."""
    made = [record for record in records if record.fault[0] in KINDS]
    lines = [
        "# Faults",
        "",
        "What was done to the running system, and what came of it. `script/faults` makes the",
        "injections and writes this page; the faults are lines in `tests/faults/catalogue.py`, the",
        "promises that are checked after each stand in `tests/faults/injection.py`.",
        "",
        sentence(records),
        "",
        f"{_how_long(seconds, again)} A clinic that nothing was done to was synced beside them, "
        f"{_beside(records):,} times; each time it completed.",
        "",
    ]
    by_kind: dict[str, list[Record]] = defaultdict(list)
    for record in made:
        by_kind[record.fault[0]].append(record)
    for letter, title in KINDS.items():
        lines += [f"## {title}", "", *_table(by_kind[letter]), ""]
    PAGE.write_text("\n".join(lines))


def _table(records: Sequence[Record]) -> list[str]:
    rows = [
        "| | Fault | Injections | Outcome | Lost, twice, wrongly deleted, stuck | Slowest end | "
        "Slowest take-over | Other problems |",
        "|---|---|---:|---|---|---:|---:|---:|",
    ]
    ordered = sorted(records, key=lambda each: (int(each.fault[1:]), each.name))
    for (fault, name), group in groupby(ordered, key=lambda each: (each.fault, each.name)):
        found = list(group)
        outcomes = Counter(each.seen or "none" for each in found)
        seen = ", ".join(
            f"{outcome} ({count})" if len(outcomes) > 1 else outcome
            for outcome, count in outcomes.most_common()
        )
        counts = ", ".join(
            str(sum(getattr(each, word) for each in found))
            for word in ("lost", "duplicates", "false_deletions", "stuck")
        )
        taken = [each.take_over_seconds for each in found if each.take_over_seconds is not None]
        rows.append(
            f"| {fault} | {name} | {len(found)} | {seen} | {counts} | "
            f"{max(each.seconds for each in found):.1f} s | "
            f"{f'{max(taken):.1f} s' if taken else ''} | {sum(map(_wrong, found)) or ''} |"
        )
    return rows


def _wrong(record: Record) -> bool:
    return bool(record.problems)


def _beside(records: Sequence[Record]) -> int:
    """How often the clinic beside was synced; one failed sync would make its record broken."""
    beside = [each for each in records if each.fault == "I8" and not is_broken(each)]
    return sum(int(each.seen.split()[1]) for each in beside)


def _how_long(seconds: float, again: int) -> str:
    if not again:
        return f"It took {seconds / 60:.0f} minutes."
    return f"{again} of them were made a second time, after a first run in which they went wrong."


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
