"""The whole system as `script/server` starts it: web processes, workers, Redis, and a Cliniko.

It is asked over HTTP alone. Clinics and people are made beside it, in its database, so that tests
which share one system each have a clinic of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import requests
from flask import Flask

from config import ROOT, load
from script.address import free_port
from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.cast import make_user
from webapp import create_core
from webapp.extensions import db
from webapp.models import Organization, Role, User
from webapp.services import organizations, tokens

POLL_SECONDS = 1.05  # sixty a minute

T = TypeVar("T")
Json = dict[str, Any]


@dataclass
class Caller:
    """A program with the token of a person; without one nobody in particular."""

    url: str
    token: str | None
    user_id: int | None = None
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """`path` is below /api/v1, or begins with `//` for one from the root of the server."""
        address = path[1:] if path.startswith("//") else f"/api/v1{path}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        options.setdefault("timeout", 30)
        options.setdefault("allow_redirects", False)
        return self.session.request(method, self.url + address, headers=headers, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.ask("POST", path, **options)


@dataclass
class Clinic:
    """A clinic, its account at Cliniko, and those who belong to it."""

    id: int
    name: str
    key: str
    account: ClinikoAccount
    manager: Caller
    viewer: Caller

    def start(self) -> Json:
        """Start a sync, which must be accepted."""
        answer = self.manager.post(f"/cliniko/sync-all/{self.id}")
        assert answer.status_code == 200, answer.text
        started: Json = answer.json()
        return started

    def newest(self) -> Json:
        """The newest sync in the sync logs."""
        answer = self.viewer.get(f"/cliniko/sync-logs/{self.id}?limit=1")
        assert answer.status_code == 200, answer.text
        log: Json = answer.json()["logs"][0]
        return log

    def polled(self, *, seconds: float = 60) -> Iterator[Json]:
        """What a client sees that asks until the sync has ended, no oftener than it may."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            yield (log := self.newest())
            if log["status"] in ("completed", "failed"):
                return
            time.sleep(POLL_SECONDS)
        raise TimeoutError("the sync has not ended in time")

    def synced(self) -> Json:
        """Start a sync, and give it when it has ended."""
        self.start()
        *_, log = self.polled()
        return log


class RunningSystem:
    """A system that runs, with an admin who sees all of its clinics."""

    def __init__(self, url: str, pid: int, simulator: Simulator, app: Flask) -> None:
        self.url = url
        self.pid = pid
        self.simulator = simulator
        self.app = app
        self.nobody = Caller(url, None)
        self.admin = self.person("admin@example.com", Role.ADMIN)
        self._numbers = count(1)

    def clinic(self, *, active: int = 7, **patients: int) -> Clinic:
        """A new clinic with so many patients; `patients` as for ClinikoAccount.generate."""
        number = next(self._numbers)
        name, key = f"Clinic {number}", f"invented-key-{number}-au1"
        patients = {"archived": 2, "merged": 1, "deleted": 1} | patients
        account = ClinikoAccount.generate(  # the same patients, whichever tests ran before
            name=name, account_id=str(1000 + number), seed=active, active=active, **patients
        )
        account.add_key(key)
        self.simulator.accounts = (*self.simulator.accounts, account)
        organization_id = self.inside(lambda: organizations.add(name, key).id)
        manager = self.person(f"manager-{number}@example.com", Role.MANAGER, organization_id)
        viewer = self.person(f"viewer-{number}@example.com", Role.VIEWER, organization_id)
        return Clinic(organization_id, name, key, account, manager, viewer)

    def person(self, email: str, role: Role, organization_id: int | None = None) -> Caller:
        """A new person, with the password of all tests, and a program with their token."""

        def make() -> tuple[str, int]:
            organization = organization_id and db.session.get_one(Organization, organization_id)
            user: User = make_user(email, role, organization or None)
            return tokens.issue(user, name="tests")[0], user.id

        return Caller(self.url, *self.inside(make))

    def inside(self, do: Callable[[], T]) -> T:
        """Do something in the system's database, beside its processes."""
        with self.app.app_context():
            return do()


@contextmanager
def running_system(instance: Path, **settings: str) -> Iterator[RunningSystem]:
    """Start everything in this folder, with these settings besides; stop it on leaving."""
    with Simulator(latency_ms=20) as simulator:
        environ = {
            "INSTANCE_DIR": str(instance),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "CLINIKO_API_URL": simulator.url,
            "CLINIKO_CONTACT_EMAIL": "tests@example.com",
            "METRICS_TOKEN": "a token that opens the metrics",
            "WEBHOOK_ALLOWED_HOSTS": "localhost",
            "PYTHONUNBUFFERED": "1",
        } | settings
        server = subprocess.Popen(
            [sys.executable, "-m", "script.serve"],
            cwd=ROOT,
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        try:
            ready = next((line for line in server.stdout if line.startswith("Ready:")), "")
            assert ready, "the system does not start"
            app = create_core(load(environ))
            yield RunningSystem(f"http://127.0.0.1:{environ['PORT']}", server.pid, simulator, app)
            with app.app_context():
                db.engine.dispose()
        finally:
            server.terminate()
            server.communicate(timeout=30)
