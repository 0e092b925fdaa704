"""What is measured: the running system beside a simulated Cliniko, each a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from flask_migrate import Migrate, upgrade

from config import DEMO_CLINIKO_KEY, ROOT, load
from script.address import free_port
from script.install import install
from tests.support.postgres_server import PostgresProcess
from tests.support.processes import descendants, wait_until
from tests.support.redis_server import redis_server
from webapp import create_core, queue
from webapp.cli import MIGRATIONS
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.services import organizations
from webapp.sync.start import start_sync

_AS_INSTALLED = ("fsync=on", "full_page_writes=on", "synchronous_commit=on")
_COMPILED = ("webapp", "config", "worker.py")


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


def cpu_seconds(pid: int, *, of_children: bool = False) -> float:
    """What a process has used so far; or what those of its children used that have ended."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = stat[13:15] if of_children else stat[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def archived_of(patients: int) -> int:
    """How many of a simulated clinic's patients are archived."""
    return min(36, patients // 10)


def active_of(patients: int) -> int:
    """How many are active: five are merged, and five deleted."""
    return patients - archived_of(patients) - 10


@contextmanager
def simulator(patients: int, latency_ms: float, *, rate_limit: int = 0) -> Iterator[str]:
    """The address of a Cliniko with so many patients and, unless told otherwise, no limit."""
    port = free_port()
    command = [sys.executable, "-m", "simulator", "--port", str(port)]
    command += ["--rate-limit", str(rate_limit)]
    command += ["--key", DEMO_CLINIKO_KEY, "--latency-ms", str(latency_ms)]
    command += ["--patients", str(patients), "--archived", str(archived_of(patients))]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.communicate()


def postgresql(*settings: str) -> PostgresProcess:
    """A PostgreSQL as it is installed, which writes to the disk what is committed, unlike that of
    the tests; with these settings beside."""
    return PostgresProcess(*_AS_INSTALLED, *settings)


@contextmanager
def system(
    folder: Path,
    url: str,
    *,
    database_url: str = "",
    clinics: int = 1,
    workers: int = 1,
    rate_limit: int = 10_000,
) -> Iterator[Flask]:
    """A migrated database, SQLite unless told otherwise, with a Redis, clinics that share one key,
    and workers; `WORKER_PID` of its configuration is the first one's."""
    with redis_server() as redis_url:
        environ = {
            "DATABASE_URL": database_url,
            "INSTANCE_DIR": str(folder),
            "REDIS_URL": redis_url,
            "CLINIKO_API_URL": url,
            "CLINIKO_CONTACT_EMAIL": "bench@example.com",
            "CLINIKO_RATE_LIMIT": str(rate_limit),
        }
        app = create_core(load(environ, instance=folder))
        Migrate(app, db, directory=str(MIGRATIONS))
        with app.app_context():
            upgrade()
            for _ in range(clinics):
                organizations.add("Bench", DEMO_CLINIKO_KEY)
            started = [_worker(environ) for _ in range(workers)]
            app.config |= {"ENVIRON": environ}
            if started:
                app.config["WORKER_PID"] = started[0].pid
            try:
                wait_until(lambda: queue.workers_connected() == workers)
                yield app
            finally:
                for worker in started:
                    worker.terminate()
                for worker in started:
                    worker.wait()


def installed_for_benches() -> Path:
    """Where benches keep the environments that they install."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "patient-sync-bench"


def _worker(environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """As script/server starts it, with what is installed in production: some packages load others
    where they find them, and those of the tests would be counted as memory of ours."""
    venv = installed_for_benches() / "production"
    install(ROOT / "requirements.txt", venv)
    python = str(venv / "bin" / "python")
    # A process that compiles its own modules needs nine megabytes more than the next one.
    subprocess.run([python, "-m", "compileall", "-q", *_COMPILED], cwd=ROOT, check=True)
    return subprocess.Popen(
        ["nice", "-n", "5", python, "worker.py"],
        cwd=ROOT,
        env=os.environ | environ,
        stderr=subprocess.DEVNULL,
    )
