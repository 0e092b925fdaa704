"""Our own sync as a clinic's program sees it: from POST to completed, over HTTP."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from flask import Flask
from sqlalchemy import select, text

from bench.system import cpu_seconds, peak_memory, system
from config import DEMO_CLINIKO_KEY
from script.address import Address
from tests.support.gunicorn_server import gunicorn
from tests.support.processes import descendants, wait_until
from webapp.extensions import db
from webapp.models import Organization, Role, SyncLog
from webapp.services import organizations, people, tokens

PASSWORD = "a password for measuring only"

Serve = Callable[[Mapping[str, str], Path], AbstractContextManager[Address]]

CSRF = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')

# What each sync writes into every row that it has seen, changed or not.
_MARKS = ("last_synced", "last_sync_id")


@dataclass(frozen=True)
class Sync:
    """One sync that was completed; memory and CPU are those of the work-horse, in MB and seconds.

    `peak_mb` counts what it shares with its worker as its own, `pss_mb` only its part of that.
    """

    seconds: float
    requests: int
    records: int
    cpu_seconds: float
    peak_mb: float
    pss_mb: float
    was_seen_waiting: bool


class Running:
    """A system that runs, and a caller with a token."""

    def __init__(self, app: Flask, address: Address) -> None:
        person = people.create("caller@example.com", PASSWORD, role=Role.ADMIN)
        self.app = app
        self.address = address
        self.api = f"http://{address}/api/v1"
        self.headers = {"Authorization": f"Bearer {tokens.issue(person)[0]}"}

    def sync(self, organization_id: int = 1, *, memory: bool = True) -> Sync:
        """Start a sync over HTTP and see it through."""
        used = self.worker_cpu_seconds()
        began = time.monotonic()
        log_id = self.start(organization_id)
        return self.see_through(log_id, began=began, used=used, memory=memory)

    def start(self, organization_id: int = 1) -> int:
        """The id of a sync that was accepted."""
        answer = requests.post(
            f"{self.api}/cliniko/sync-all/{organization_id}", headers=self.headers, timeout=60
        )
        assert answer.status_code == 200, answer.text
        return int(answer.json()["sync_log_id"])

    def see_through(
        self, log_id: int, *, began: float, used: float = 0.0, memory: bool = True
    ) -> Sync:
        """Wait until the API says of a sync that it is completed.

        The database is looked at meanwhile, for the API lets nobody ask as often as that; and the
        memory, unless there is more to be disturbed by it.
        """
        peak, pss, waited, looked = 0, 0, False, 0.0
        worker = self.app.config["WORKER_PID"]
        while True:
            with db.engine.connect() as connection:
                log = connection.execute(
                    select(
                        SyncLog.organization_id, SyncLog.status, SyncLog.progress.label("progress")
                    ).where(SyncLog.id == log_id)
                ).one()
            if log.status != "running":
                break
            waited = waited or log.progress["waiting_until"] is not None
            if memory and time.monotonic() - looked > 0.1:
                looked = time.monotonic()
                peak = max(peak, peak_memory(worker))
                pss = max(pss, *(_pss(pid) for pid in descendants(worker)), 0)
            time.sleep(0.01 if memory and time.monotonic() - began < 5 else 0.05)
        told = self._told(log.organization_id, log_id)
        seconds = time.monotonic() - began
        assert told["status"] == "completed", told
        # It may be at another clinic's sync, which is under Cliniko's limit, too.
        wait_until(lambda: not descendants(worker), seconds=600)
        return Sync(
            seconds=seconds,
            requests=log.progress["requests_made"],
            records=told["records_processed"],
            cpu_seconds=self.worker_cpu_seconds() - used,
            peak_mb=peak / 1024,
            pss_mb=pss / 1024,
            was_seen_waiting=waited,
        )

    def sign_in(self, email: str, *, agent: str = "bench") -> requests.Session:
        """A browser of this person, signed in."""
        session = requests.Session()
        session.headers["User-Agent"] = agent
        url = f"http://{self.address}/sign-in"
        token = CSRF.search(session.get(url, timeout=60).text)
        assert token is not None
        form = {"email": email, "password": PASSWORD, "csrf_token": token[1]}
        answer = session.post(url, form, timeout=60)
        assert answer.url.endswith("/clinics"), answer.url
        return session

    def open_window(self, organization_id: int = 1) -> None:
        """Let the next start be accepted at once: saving the key again does that."""
        organization = db.session.get_one(Organization, organization_id)
        organizations.replace_key(organization, DEMO_CLINIKO_KEY)

    def rows(self) -> dict[int, tuple[int, int]]:
        """Each patient's row as two digests: of all of it, and of what a sync has to say of it."""
        found = {}
        with db.engine.connect().execution_options(stream_results=True) as connection:
            for row in connection.execute(text("SELECT * FROM patients")).mappings():
                said = tuple(str(value) for name, value in row.items() if name not in _MARKS)
                found[row["id"]] = hash(tuple(map(str, row.values()))), hash(said)
        return found

    def database_mb(self) -> float:
        """The size of the database on disk."""
        with db.engine.connect() as connection:
            if db.engine.dialect.name == "postgresql":
                size = connection.execute(text("SELECT pg_database_size(current_database())"))
                return float(size.scalar_one()) / 1e6
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        file = Path(str(db.engine.url.database))
        return sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*")) / 1e6

    def _told(self, organization_id: int, log_id: int) -> dict[str, Any]:
        url = f"{self.api}/cliniko/sync-logs/{organization_id}/{log_id}"
        answer = requests.get(url, headers=self.headers, timeout=60)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def worker_cpu_seconds(self) -> float:
        """What the work-horses that have ended used, by the worker that buried them."""
        return cpu_seconds(self.app.config["WORKER_PID"], of_children=True)


@contextmanager
def running(
    folder: Path, cliniko: str, *, serve: Serve = gunicorn, **settings: Any
) -> Iterator[Running]:
    """The whole system beside a Cliniko: web server, Redis, worker and an empty database."""
    with (
        system(folder, cliniko, **settings) as app,
        serve(os.environ | app.config["ENVIRON"], folder / "web.log") as address,
    ):
        yield Running(app, address)


def _pss(pid: int) -> int:
    try:
        found = re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) if found else 0
