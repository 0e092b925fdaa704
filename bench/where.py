"""Where the time of a sync's own thread goes: the share of each part, by Python's profiler.

    .venv/bin/python -m bench.where --patients 20000

Reading, decoding and parsing happen in other threads and are not in it. The profiler makes it all
slower, small functions more than large ones, so the shares are only about right.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.system import postgresql, simulator, system
from bench.tables import origin, publish, table
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.sync import engine
from webapp.sync.start import start_sync

# What is told, by the functions that do it.
PARTS = {
    "values of rows: names folded for searches, phones, moments": ("bulk.py", "rows_of"),
    "writing them": ("bulk.py", "upsert"),
    "what is known of these patients": ("rows.py", "known_rows"),
    "what Cliniko told, for the certificate": ("upsert.py", "_told"),
    "the copy, for the certificate": ("certificate.py", "tally_of_copy"),
    "what has changed, for the feed": ("changes.py", "note"),
    "check of the lease": ("lease.py", "check"),
    "lease, counters, checkpoint": ("lease.py", "write"),
    "the clinic's lock": ("locks.py", "clinic"),
    "commits": ("base.py", "_do_commit"),
}


def main() -> None:
    """Profile one first sync, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    said = parser.parse_args()
    shares = [_shares(said.patients, database) for database in said.databases]
    rows = [[part, *(f"{each[part]:.0%}" for each in shares)] for part in [*PARTS, "all else"]]
    columns = ["of the time of the sync's own thread", *said.databases]
    publish("\n\n".join((origin("bench.where"), table(columns, rows))), said.markdown)


def _shares(patients: int, database: str) -> dict[str, float]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        url = ""
        if database == "postgresql":
            url = stack.enter_context(postgresql()).create("profiled")
        cliniko = stack.enter_context(simulator(patients, 0))
        stack.enter_context(system(folder, cliniko, database_url=url, workers=0))
        organization = db.session.get_one(Organization, 1)
        log = start_sync(
            organization, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND
        )
        log_id, profile = log.id, cProfile.Profile()
        profile.runcall(engine.run, log_id, 1, worker="profiled")
        db.session.expire_all()
        assert db.session.get_one(SyncLog, log_id).status == "completed"
        db.session.remove()
    found = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    whole = max(cumulative for _, _, _, cumulative, _ in found.values())
    shares = {
        part: sum(
            cumulative
            for (path, _, name), (_, _, _, cumulative, _) in found.items()
            if (Path(path).name, name) == place
        )
        / whole
        for part, place in PARTS.items()
    }
    return shares | {"all else": 1 - sum(shares.values())}


if __name__ == "__main__":
    main()
