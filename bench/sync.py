"""How long a sync takes, and what it needs, beside the script that a clinic would write by hand.

    .venv/bin/python -m bench.sync --patients 648 --latency-ms 250

Both read from the same simulator in the same run. Ours goes the whole way: a row, Redis, a real
worker, every list, and the catch-up. The script reads active patients only, 50 a page, and commits
each one.
"""

from __future__ import annotations

import argparse
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from flask import Flask
from flask_migrate import Migrate, upgrade

from config import DEMO_CLINIKO_KEY, ROOT, load
from script.address import free_port
from tests.support.processes import descendants, wait_until
from tests.support.redis_server import redis_server
from webapp import create_core, queue
from webapp.cli import MIGRATIONS
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.services import organizations
from webapp.sync.start import start_sync


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


def one_sync(app: Flask) -> tuple[float, int, float]:
    """Seconds from start to completed, requests to Cliniko, peak memory of the work-horse in MB."""
    organization = db.session.get_one(Organization, 1)
    began, peak = time.monotonic(), 0
    log_id = start_sync(
        organization, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND
    ).id
    while True:
        db.session.rollback()
        log = db.session.get_one(SyncLog, log_id)
        peak = max(peak, peak_memory(app.config["WORKER_PID"]))
        if not log.is_running:
            break
        time.sleep(0.01)
    assert log.status == "completed", log.error_message
    return time.monotonic() - began, log.progress["requests_made"], peak / 1024


def peak_memory(worker: int) -> int:
    """The peak memory of a worker's children so far, in kilobytes."""
    peak = 0
    for pid in descendants(worker):
        try:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
        peak = max(peak, int(found[1]) if found else 0)
    return peak


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


@contextmanager
def simulator(patients: int, latency_ms: float) -> Iterator[str]:
    """The address of a Cliniko with so many patients and no limit."""
    port = free_port()
    archived = min(36, patients // 10)
    command = [sys.executable, "-m", "simulator", "--port", str(port), "--rate-limit", "0"]
    command += ["--key", DEMO_CLINIKO_KEY, "--latency-ms", str(latency_ms)]
    command += ["--patients", str(patients), "--archived", str(archived)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.communicate()


@contextmanager
def system(folder: Path, url: str, *, database_url: str = "") -> Iterator[Flask]:
    """A migrated database, SQLite unless told otherwise, with one clinic, a Redis, one worker."""
    with redis_server() as redis_url:
        environ = {
            "DATABASE_URL": database_url,
            "INSTANCE_DIR": str(folder),
            "REDIS_URL": redis_url,
            "CLINIKO_API_URL": url,
            "CLINIKO_CONTACT_EMAIL": "bench@example.com",
            "CLINIKO_RATE_LIMIT": "10000",
        }
        app = create_core(load(environ, instance=folder))
        Migrate(app, db, directory=str(MIGRATIONS))
        with app.app_context():
            upgrade()
            organizations.add("Bench", DEMO_CLINIKO_KEY)
            worker = subprocess.Popen(
                [sys.executable, "worker.py"],
                cwd=ROOT,
                env=os.environ | environ,
                stderr=subprocess.DEVNULL,
            )
            app.config |= {"WORKER_PID": worker.pid, "ENVIRON": environ}
            wait_until(lambda: bool(queue.workers_connected()))
            yield app
            worker.terminate()
            worker.wait()


if __name__ == "__main__":
    main()
