"""How long a sync takes, and what it needs, beside the script that a clinic would write by hand.

    .venv/bin/python -m bench.sync --patients 648 --latency-ms 250

Both read from the same simulator in the same run. Ours goes the whole way: a row, Redis, a real
worker, every list, and the catch-up. The script reads active patients only, 50 a page, and commits
each one.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import requests

from bench.system import one_sync, simulator, system
from config import DEMO_CLINIKO_KEY


def main() -> None:
    """Measure, and print one line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=648)
    parser.add_argument("--latency-ms", type=float, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-script", action="store_true")
    said = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        simulator(said.patients, said.latency_ms) as url,
        system(Path(folder), url) as app,
    ):
        ours = [one_sync(app) for _ in range(said.rounds)]
        theirs = [] if said.without_script else [by_hand(url, folder) for _ in ours]
    seconds = statistics.median(took for took, _, _ in ours)
    print(f"{said.patients} patients, {said.latency_ms:g} ms a request, median of {said.rounds}:")
    print(f"  first sync     {ours[0][0]:.2f} s, {ours[0][1]} requests")
    print(f"  any sync       {seconds:.2f} s, peak memory {max(peak for *_, peak in ours):.1f} MB")
    if theirs:
        by_script = statistics.median(theirs)
        print(f"  script by hand {by_script:.2f} s, so {by_script / seconds:.1f} times as long")


def by_hand(url: str, folder: str) -> float:
    """Seconds that the script by hand needs: page after page, patient after patient."""
    began = time.monotonic()
    database = sqlite3.connect(f"{folder}/by_hand.db")
    database.execute(
        "CREATE TABLE IF NOT EXISTS patients (id TEXT PRIMARY KEY, name TEXT, email TEXT)"
    )
    address: str | None = f"{url}/patients?per_page=50"
    while address:
        page = requests.get(
            address,
            auth=(DEMO_CLINIKO_KEY, ""),
            headers={"Accept": "application/json", "User-Agent": "bench (bench@example.com)"},
            timeout=60,
        ).json()
        for patient in page["patients"]:
            name = f"{patient['first_name']} {patient['last_name']}"
            database.execute(
                "INSERT OR REPLACE INTO patients VALUES (?, ?, ?)",
                (patient["id"], name, patient["email"]),
            )
            database.commit()
        address = page["links"].get("next")
    database.close()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
