"""The system that faults are done to: each part real and killable, Cliniko simulated strictly."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import psycopg
import requests
from flask import Flask, render_template
from redis import Redis

from config import ROOT, Settings, load
from script.address import Address, free_port
from script.processes import Program, programs, supervised, tethered
from simulator.server import Simulator
from tests.support.postgres_server import PostgresProcess
from tests.support.processes import descendants, is_alive, wait_until
from tests.support.redis_server import RedisServer
from webapp import create_app, create_core
from webapp.extensions import db
from webapp.models import Organization, SyncLog
from webapp.pages.card import card_context
from webapp.queue import workers_connected

CONTACT = "tests@example.com"
_NUMBERS = count(1)


class Parts:
    """One system: Redis, a database, two web processes, workers, and Cliniko.

    Made and left by the main thread, for what is started ends with it. `slack`: how many times as
    long something may take as on a machine that does nothing else.
    """

    def __init__(
        self,
        folder: Path,
        database: str,
        *,
        workers: int = 2,
        slack: float = 1.0,
        **settings: str,
    ) -> None:
        self.slack = slack
        self.folder = folder
        self.database = database
        self.redis = RedisServer()
        self.simulator = Simulator(strict=True)
        self.postgres = PostgresProcess(durable=True) if database == "postgresql" else None
        self.worker_count = workers
        self._settings = settings
        self._stack = ExitStack()
        self.numbers = count(1)

    def __enter__(self) -> Self:
        self.stages.mkdir(parents=True)
        self._stack.enter_context(self.simulator)
        self._stack.enter_context(self.redis)
        if self.postgres is not None:
            self._stack.enter_context(self.postgres)
            url = self.postgres.create("patient_sync")
        else:
            url = f"sqlite:///{self.folder / 'patient_sync.db'}"
        self.environ = {
            "ENV": "development",
            "INSTANCE_DIR": str(self.folder),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "WORKERS": str(self.worker_count),
            "DATABASE_URL": url,
            "REDIS_URL": self.redis.url,
            "CLINIKO_API_URL": self.simulator.url,
            "CLINIKO_CONTACT_EMAIL": CONTACT,
            "STAGES": str(self.stages),
        } | self._settings
        os.environ.update(self.environ)
        self.settings: Settings = load(os.environ)
        self.flask("db", "upgrade")
        self.app: Flask = create_core(self.settings)
        self.pages: Flask = create_app(self.settings)
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        with self.app.app_context():
            db.engine.dispose()
        self._stack.close()

    @property
    def stages(self) -> Path:
        """The folder of the orders for the stages."""
        return self.folder / "stages"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environ['PORT']}"

    def start(self) -> None:
        """Start web server and workers, and wait until both can be used."""
        self._web = self._supervise("web")
        self._workers = self._supervise("worker")
        self.wait_until_ready()

    def stop(self) -> None:
        """Stop workers and web server in good order."""
        self._workers.stop()
        self._web.stop()

    def kill(self) -> None:
        """SIGKILL for every process at once, supervisors first."""
        self._web.kill()
        self._workers.kill()

    def start_workers(self, *, wait: bool = True) -> None:
        """Start the workers; without `wait` it is not asked whether they can be heard of."""
        self._workers = self._supervise("worker")
        if wait:
            self.wait_until_ready()

    def stop_workers(self) -> None:
        """Stop the workers in good order; the web server stays."""
        self._workers.stop()

    def kill_workers(self) -> None:
        """SIGKILL for all workers and their work-horses; none comes back."""
        self._workers.kill()

    def wait_until_ready(self) -> None:
        """Wait until the web server answers and every worker has told Redis of itself."""
        count = self.worker_count
        wait_until(lambda: self.web_answers() and self.workers_alive() >= count, seconds=60)

    def _supervise(self, name: str) -> Supervisor:
        chosen = [each for each in programs(self.settings) if each.name == name]
        return Supervisor(
            [_with_stages(each, self.settings) for each in chosen], self.folder / name
        )

    def set(self, **settings: str) -> None:
        """Other settings, for what is started from now on."""
        self.environ |= settings
        os.environ.update(settings)
        self.settings = load(os.environ)

    def web_answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def workers_alive(self) -> int:
        with self.app.app_context():
            return workers_connected() or 0

    def flask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of our commands, as an operator would give it."""
        command = [sys.executable, "-m", "flask", "--app", "webapp", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=os.environ, check=True, capture_output=True, text=True
        )

    @contextmanager
    def inside(self) -> Iterator[None]:
        """A session of our own in the system's database, beside its processes."""
        with self.app.app_context():
            try:
                yield
            finally:
                db.session.remove()

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A bare connection to the database, that can hold a lock. It commits by itself."""
        if self.postgres is None:
            path = self.environ["DATABASE_URL"].removeprefix("sqlite:///")
            bare = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            try:
                yield bare
            finally:
                bare.close()
            return
        url = self.environ["DATABASE_URL"].replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection

    def card(self, organization: Organization, log: SyncLog) -> str:
        """The card of a sync as the dashboard draws it."""
        with self.pages.test_request_context():
            return render_template(
                "syncs/_card.html", clinic=organization, notice=None, **card_context(log)
            )

    def talk_to_redis(self) -> Redis:
        return Redis.from_url(self.redis.url)


class Supervisor:
    """Some programs kept running, in a folder of their own, until they are stopped or killed."""

    def __init__(self, chosen: list[Program], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._stack = ExitStack()
        self._process = self._stack.enter_context(supervised(chosen, folder))

    def stop(self) -> None:
        self._stack.close()

    def kill(self) -> None:
        everything = [self._process.pid, *descendants(self._process.pid)]
        for pid in everything:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, everything[1:])))
        self._stack.close()


def _with_stages(program: Program, settings: Settings) -> Program:
    """The same program, with the stages wrapped around it."""
    if program.name == "web":
        bind = str(Address(settings.host, settings.port))
        conf = str(ROOT / "tests" / "faults" / "gunicorn_conf.py")
        return Program("web", tethered("-m", "gunicorn", "--config", conf, "--bind", bind))
    worker = tethered("-m", "tests.faults.worker", by=signal.SIGKILL)
    return Program(program.name, worker, copies=program.copies)
