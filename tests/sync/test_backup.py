"""R14: a backup made while a sync runs, as docs/operations.md says, restored elsewhere."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import func, select

from config import load
from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.cast import SURF_KEY, Cast
from tests.support.canaries import Search
from tests.support.postgres_binaries import find_binaries
from tests.support.postgres_server import PostgresServer
from tests.sync.copies import copy_of, truth_of
from webapp import create_core
from webapp.clock import now
from webapp.errors import CredentialsUnreadable
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, Patient, SyncLog, SyncOrigin, SyncStatus
from webapp.services import credentials
from webapp.sync import engine, recovery
from webapp.sync.start import start_sync

DOCS = Path(__file__).parent.parent.parent / "docs"
OPERATIONS = (DOCS / "operations.md").read_text()
SCRIPT = (DOCS / "production" / "backup").read_text()


def command(program: str) -> str:
    """A command of the document."""
    found = re.search(rf"^{program} .*$", OPERATIONS, re.MULTILINE)
    assert found is not None
    return found.group()


def back_up(folder: Path, database: str = "app/instance/patient_sync.db") -> int:
    """The exit code of our script, which finds the installation in this folder."""
    words = SCRIPT.replace("/opt/patient-sync", str(folder))
    words = words.replace("app/instance/patient_sync.db", database)
    return subprocess.run(["sh", "-c", words], timeout=60).returncode


def test_where_no_database_is_none_is_saved_and_no_backup_removed(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    old = tmp_path / "backups" / "2020-01-01-010000.db"
    old.touch()
    os.utime(old, (0, 0))

    assert back_up(tmp_path) != 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [old]


def test_backups_of_more_than_two_weeks_ago_are_removed(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "unfinished").write_text("of a night in which the disk was full")
    for days in (13, 16):
        file = tmp_path / "backups" / f"{days}.db"
        file.touch()
        then = (now() - timedelta(days=days)).timestamp()
        os.utime(file, (then, then))
    sqlite3.connect(tmp_path / "patients.db").close()

    assert back_up(tmp_path, str(tmp_path / "patients.db")) == 0
    names = {path.name for path in (tmp_path / "backups").iterdir()}
    assert len(names) == 2
    assert "13.db" in names
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("backups/20*"))


class Backup:
    """Makes a backup of the test's database, and another database out of it."""

    def __init__(self, url: str, folder: Path, server: PostgresServer | None) -> None:
        self.url = url
        self.file = folder / ("backup.dump" if server else "backup.db")
        self._server = server
        self._folder = folder

    def make(self) -> None:
        if self._server is None:
            database = self.url.removeprefix("sqlite:///")
            assert back_up(self._folder, database) == 0
            (made,) = (self._folder / "backups").iterdir()
            made.rename(self.file)
        else:
            self._run(self._for_server(command("pg_dump"), self.url))

    def restored(self) -> str:
        if self._server is None:
            return f"sqlite:///{self.file}"
        url = self._server.create("restored")
        self._run(self._for_server(command("pg_restore"), url))
        return url

    def content(self) -> bytes:
        """Everything in the backup; of PostgreSQL as text, for the file is compressed."""
        if self._server is None:
            return self.file.read_bytes()
        done = subprocess.run(
            [find_binaries() / "pg_restore", "--file=-", self.file], capture_output=True, check=True
        )
        return done.stdout

    def _for_server(self, words: str, url: str) -> str:
        plain = url.replace("postgresql+psycopg://", "postgresql://")
        words = words.replace("backup.dump", str(self.file)).replace("$ADDRESS", plain)
        return f"{find_binaries()}/{words}"

    def _run(self, words: str) -> None:
        subprocess.run(words, shell=True, cwd=self._folder, check=True, timeout=60)


def surf_rehab() -> Organization:
    return db.session.scalars(select(Organization).where(Organization.name == "Surf Rehab")).one()


@pytest.fixture
def backup(
    database: str, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Backup:
    server = None
    if database == "postgresql":
        server = request.getfixturevalue("postgres")
        if not (find_binaries() / "pg_dump").exists():
            pytest.skip("no pg_dump beside this PostgreSQL")
    return Backup(database_url, tmp_path, server)


@pytest.fixture
def restored(
    app: Flask,
    cast: Cast,
    begin: Callable[..., SyncLog],
    backup: Backup,
    cliniko: Simulator,
    environment: dict[str, str],
) -> Iterator[Flask]:
    """The system on the other machine, from a backup that was made in the middle of a sync."""
    asked: list[str] = []

    def between(path: str, _params: object, _number: int) -> None:
        asked.append(path)
        if path == "/patients/archived" and asked.count(path) == 2:  # the first only counts them
            backup.make()

    cliniko.before_request = between
    log = begin()
    engine.run(log.id, log.attempt, worker="first machine")
    assert backup.file.exists()
    cliniko.before_request = None
    db.session.remove()
    other = create_core(load(environment | {"DATABASE_URL": backup.restored()}))
    yield other
    with other.app_context():
        db.session.remove()
        db.engine.dispose()


def test_the_next_sync_on_the_other_machine_brings_it_in_step(
    restored: Flask, surf_account: ClinikoAccount
) -> None:
    with restored.app_context():
        surf = db.session.scalars(
            select(Organization).where(Organization.name == "Surf Rehab")
        ).one()
        found = db.session.scalars(select(SyncLog)).one()
        patients = db.session.scalar(select(func.count()).select_from(Patient)) or 0
        # What was committed together is there together.
        assert (found.status, found.records_success) == (SyncStatus.RUNNING, patients)
        assert 0 < patients < 648
        assert credentials.decrypt(surf.id, surf.encrypted_api_key or "") == SURF_KEY

        with transaction():
            found.lease_expires_at = now() - timedelta(seconds=1)
        assert recovery.recover_stale_syncs() == [found.id]
        engine.run(found.id, 2, worker="second machine")
        log = start_sync(surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
        engine.run(log.id, 1, worker="second machine")

        db.session.expire_all()
        first, second = db.session.scalars(select(SyncLog).order_by(SyncLog.id))
        assert (first.status, second.status) == (SyncStatus.COMPLETED, SyncStatus.COMPLETED)
        assert second.progress["certificate"]["in_step"] is True
        assert copy_of(surf) == truth_of(surf_account)


def test_without_the_encryption_key_the_backup_holds_no_cliniko_key(
    restored: Flask, backup: Backup
) -> None:
    search = Search({"API key": SURF_KEY})
    content = backup.content()
    search.look("backup", backup.file.name, content)
    assert len(content) > 10_000
    assert search.hits == []
    restored.config["CREDENTIALS_KEYS"] = [Fernet.generate_key().decode()]
    with restored.app_context():
        surf = db.session.scalars(
            select(Organization).where(Organization.name == "Surf Rehab")
        ).one()
        with pytest.raises(CredentialsUnreadable):
            credentials.decrypt(surf.id, surf.encrypted_api_key or "")
