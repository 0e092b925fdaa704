"""What a sync of changes asks of Cliniko beside one of all patients: requests and seconds.

    .venv/bin/python -m bench.changes --sizes 648 5000 20000 --changes 20

After a first sync so many patients are edited, archived and deleted; then both kinds run once. The
last columns are those of a week: a sync each quarter of an hour, with a full sync a week or as
full ones alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import requests

from bench.system import simulator, system
from bench.tables import origin, publish, table
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.sync import engine
from webapp.sync.start import start_sync

_A_WEEK = 7 * 24 * 4
_COLUMNS = [
    *("patients", "requests of a full sync", "of one of changes", "s of a full sync"),
    *("s of one of changes", "requests a week, changes and a full sync", "full syncs alone"),
]


def main() -> None:
    """Measure each size once, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[648, 5_000, 20_000])
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    said = parser.parse_args()
    rows = [_row(size, said.changes) for size in said.sizes]
    publish("\n\n".join((origin("bench.changes"), table(_COLUMNS, rows))), said.markdown)


def _row(patients: int, changes: int) -> list[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        cliniko = stack.enter_context(simulator(patients, 0))
        stack.enter_context(system(folder, cliniko, workers=0))
        _synced(OperationType.FULL_PATIENTS)
        root = cliniko.removesuffix("/v1")
        for action, share in (("edit", 0.7), ("archive", 0.2), ("delete", 0.1)):
            order = {"action": action, "n": max(1, round(changes * share))}
            requests.post(f"{root}/_control/patients", json=order, timeout=30).raise_for_status()
        _, few, quick = _synced(OperationType.CHANGED_PATIENTS)
        in_step, many, slow = _synced(OperationType.FULL_PATIENTS)
        assert in_step, "the copy is not in step"
        db.session.remove()
    week = [few * (_A_WEEK - 1) + many, many * _A_WEEK]
    figures = [f"{many:,}", f"{few:,}", f"{slow:.2f}", f"{quick:.2f}", *(f"{n:,}" for n in week)]
    return [f"{patients:,}", *figures]


def _synced(operation_type: OperationType) -> tuple[bool, int, float]:
    """Whether it was in step and has changed nothing more, its requests, and its seconds."""
    organization = db.session.get_one(Organization, 1)
    log_id = start_sync(organization, operation_type, actor=None, origin=SyncOrigin.COMMAND).id
    began = time.monotonic()
    engine.run(log_id, 1, worker="bench")
    seconds = time.monotonic() - began
    db.session.expire_all()
    log = db.session.get_one(SyncLog, log_id)
    assert log.status == "completed", log.error_message
    assert log.operation_type == operation_type
    certificate = log.progress["certificate"] or {"in_step": False}
    return certificate["in_step"], log.progress["requests_made"], seconds


if __name__ == "__main__":
    main()
