"""A real PostgreSQL for tests: the given one, or one started here and gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, Self

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from script import tether
from tests.support.postgres_binaries import (
    PostgresUnavailable,
    as_server_user,
    find_binaries,
    server_user,
)

__all__ = ["PostgresProcess", "PostgresServer", "PostgresUnavailable", "postgres_server"]

# Nothing has to survive a crash of the machine; of the server alone it may have to, see below.
_SETTINGS = ("listen_addresses=", "fsync=off", "full_page_writes=off")


class PostgresServer:
    """A server on which databases are made and dropped."""

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._made: list[str] = []

    def create(self, name: str, *, of: str = "template1") -> str:
        """Make a database, empty or a copy; its URL. It stays until the server is left."""
        self._drop(name)  # a run that was killed may have left it on a server of long life
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, of)
        self._made.append(name)
        return self._database_url(name)

    @contextmanager
    def encoded(self, encoding: str) -> Iterator[str]:
        """The URL of an empty database in this encoding, as of a server made without UTF-8."""
        name = f"patient_sync_{encoding}_{secrets.token_hex(4)}"
        made = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'"
        self._execute(made, name, encoding)
        try:
            yield self._database_url(name)
        finally:
            self._drop(name)

    @contextmanager
    def clone(self, template: str) -> Iterator[str]:
        """The URL of a copy of this database, to which nobody may be connected meanwhile."""
        name = f"{template}_{secrets.token_hex(4)}"
        # File by file, as before PostgreSQL 15, and not by the log, is quicker where nothing is
        # synchronized.
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
        try:
            yield self._database_url(name)
        finally:
            self._drop(name)

    def drop_all(self) -> None:
        """Drop every database that `create` has made."""
        while self._made:
            self._drop(self._made.pop())

    def answers(self) -> bool:
        """Whether the server takes connections."""
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _database_url(self, name: str) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)

    def _drop(self, name: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def postgres_server(*settings: str) -> Iterator[PostgresServer]:
    """The server for a whole run, with these settings if it is started here.

    Raises PostgresUnavailable.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        server = PostgresServer(make_url(given))
        try:
            yield server
        finally:
            server.drop_all()
        return
    with PostgresProcess(*settings) as server:
        yield server


class PostgresProcess(PostgresServer):
    """Started on entering and gone on leaving; between that it can be killed and come back.

    `durable`: what was committed is there again after the server was killed. `settings`: its own.
    """

    def __init__(self, *settings: str, durable: bool = False) -> None:
        synchronous = f"synchronous_commit={'on' if durable else 'off'}"
        self._settings = [*_SETTINGS, synchronous, *settings]
        self._binaries = find_binaries()
        # A short path for the socket, in a place that the server's user may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        query = {"host": str(self._folder)}
        super().__init__(URL.create("postgresql", "test", database="postgres", query=query))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.getuid() == 0:
            shutil.chown(self._folder, server_user())
        try:
            self._make()
            self.start()
        except PostgresUnavailable:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def data(self) -> Path:
        """The folder of the server's own files."""
        return self._folder / "data"

    def start(self) -> None:
        """Start the server, with the data it left, and wait until it answers."""
        log = self._folder / "log"
        command = as_server_user(self._binaries / "postgres", "-D", self.data, "-k", self._folder)
        for setting in self._settings:
            command += ["-c", setting]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd="/", env=tether.environ(os.environ), stdout=output, stderr=output
            )
        deadline = time.monotonic() + 30
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PostgresUnavailable(f"postgres does not start: {log.read_text()}")
            time.sleep(0.01)

    def stop(self, *numbers: signal.Signals) -> None:
        """End the server by these signals, one after the other: fast, then immediate."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in numbers or (signal.SIGINT, signal.SIGQUIT):
            process.send_signal(number)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                continue
            return

    def _make(self) -> None:
        initdb = as_server_user(self._binaries / "initdb", "--pgdata", self.data, "--username=test")
        initdb += ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        made = subprocess.run(initdb, cwd="/", capture_output=True, text=True)
        if made.returncode != 0:
            raise PostgresUnavailable(f"initdb has failed: {made.stderr}")
