"""R14: a backup made while a sync runs, as docs/operations.md says, restored elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import func, select, text

from config import ROOT, Settings, load
from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.audit.test_unwritable import REFUSE
from tests.cast import SURF_KEY, Cast
from tests.support.canaries import Search
from tests.support.postgres_binaries import find_binaries
from tests.support.postgres_server import PostgresServer
from tests.sync.copies import copy_of, truth_of
from tests.sync.logs import certificate_of
from webapp import create_app, create_core
from webapp.clock import now
from webapp.errors import CredentialsUnreadable
from webapp.extensions import db, transaction
from webapp.models import (
    AuditEvent,
    OperationType,
    Organization,
    Patient,
    SyncLog,
    SyncOrigin,
    SyncStatus,
)
from webapp.models.audit_event import SERVICE_CHAIN
from webapp.services import audit_check, credentials
from webapp.services import backup as backups
from webapp.services.audit_events import Event
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


def back_up(app: Flask, folder: Path) -> Result:
    """The command, as it is typed."""
    return app.test_cli_runner().invoke(args=["backup", str(folder)])


class Backup:
    """Makes a backup of the test's database, and another database out of it."""

    def __init__(self, app: Flask, folder: Path, server: PostgresServer | None) -> None:
        self.file = Path()
        self._app = app
        self._server = server
        self._folder = folder

    def make(self) -> None:
        with self._app.app_context():
            self.file = backups.make(self._folder / "backups")

    def restored(self) -> str:
        if self._server is None:
            return f"sqlite:///{self.file}"
        url = self._server.create("restored")
        plain = url.replace("postgresql+psycopg://", "postgresql://")
        words = command("pg_restore").replace("backups/DATE.dump", str(self.file))
        words = f"{find_binaries()}/{words.replace('$ADDRESS', plain)}"
        subprocess.run(words, shell=True, cwd=self._folder, check=True, timeout=60)
        return url

    def content(self) -> bytes:
        """Everything in the backup; of PostgreSQL as text, for the file is compressed."""
        if self._server is None:
            return self.file.read_bytes()
        done = subprocess.run(
            [find_binaries() / "pg_restore", "--file=-", self.file], capture_output=True, check=True
        )
        return done.stdout


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    """With the commands."""
    return create_app


def surf_rehab() -> Organization:
    return db.session.scalars(select(Organization).where(Organization.name == "Surf Rehab")).one()


@pytest.fixture
def backup(
    app: Flask,
    database: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Backup:
    server = None
    if database == "postgresql":
        server = request.getfixturevalue("postgres")
        if not (find_binaries() / "pg_dump").exists():
            pytest.skip("no pg_dump beside this PostgreSQL")
        monkeypatch.setenv("PATH", f"{find_binaries()}:{os.environ['PATH']}")
    return Backup(app, tmp_path, server)


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
    assert backup.file.is_file()
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
        surf = surf_rehab()
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
        assert certificate_of(second)["in_step"] is True
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
        surf = surf_rehab()
        with pytest.raises(CredentialsUnreadable):
            credentials.decrypt(surf.id, surf.encrypted_api_key or "")


def test_those_of_more_than_two_weeks_ago_are_removed(
    app: Flask, backup: Backup, database: str, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    suffix = "dump" if database == "postgresql" else "db"
    kept, old = folder / f"2026-11-14-010000.{suffix}", folder / f"2026-11-11-010000.{suffix}"
    other, killed = folder / "2026-11-11-other-1.dump", folder / "unfinished-1"
    inside = folder / f"2020-01-01-010000.{suffix}"  # a folder of somebody
    inside.mkdir()
    for file, days in ((kept, 13), (old, 16), (other, 16), (killed, 2), (inside, 16)):
        file.touch()
        then = (now() - timedelta(days=days)).timestamp()
        os.utime(file, (then, then))

    result = back_up(app, folder)

    assert result.exit_code == 0, result.output
    (made,) = {each for each in folder.iterdir() if each.is_file()} - {kept, other}
    assert result.output == f"{made} was written.\n"
    assert made.suffix == f".{suffix}"
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.stat().st_size > 10_000


def recorded() -> list[AuditEvent]:
    db.session.rollback()
    ours = select(AuditEvent).where(AuditEvent.event == Event.BACKED_UP)
    return list(db.session.scalars(ours))


def test_that_it_was_made_stands_in_the_trail(app: Flask, backup: Backup, tmp_path: Path) -> None:
    """Every patient of every clinic is in it."""
    assert back_up(app, tmp_path / "backups").exit_code == 0
    (event,) = recorded()
    assert (event.chain, event.via, event.actor) == (SERVICE_CHAIN, "command", None)
    assert (event.result, event.details) == ("ok", {})
    assert list(audit_check.verify()) == []


def test_one_that_was_written_stands_there_though_older_ones_could_not_be_removed(
    app: Flask, backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: Path, names: re.Pattern[str], _older_than: timedelta) -> None:
        if names is backups._OURS:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(backups, "_remove", refuse)
    assert back_up(app, tmp_path / "backups").exit_code == 2
    assert len(recorded()) == 1


def test_it_is_made_though_the_trail_cannot_be_written(
    app: Flask, backup: Backup, database: str, tmp_path: Path
) -> None:
    with transaction() as session:
        for statement in REFUSE[database]:
            session.execute(text(statement))
    assert back_up(app, tmp_path / "backups").exit_code == 0
    assert len(list((tmp_path / "backups").iterdir())) == 1
    assert recorded() == []


def test_one_that_was_not_made_is_not_recorded(app: Flask, backup: Backup, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert back_up(app, tmp_path / "file" / "backups").exit_code == 2
    assert recorded() == []


def test_without_a_database_nothing_is_saved_and_no_backup_removed(
    backup: Backup, environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    old = folder / "2020-01-01-010000.db"
    old.touch()
    os.utime(old, (0, 0))
    other = create_app(load(environment | {"DATABASE_URL": f"{database_url}_of_nobody"}))

    with other.app_context():
        result = back_up(other, folder)

    assert result.exit_code == 2
    assert "could not save the database" in result.output
    assert list(folder.iterdir()) == [old]


@pytest.mark.parametrize("database", ["postgresql"])
def test_where_pg_dump_is_missing_it_is_named(
    app: Flask, backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = back_up(app, tmp_path / "backups")
    assert result.exit_code == 2
    assert "postgresql-client" in result.output


def test_a_folder_is_named_from_the_root(app: Flask, backup: Backup) -> None:
    """Commands run in the clone, where nobody would look for it."""
    result = back_up(app, Path("backups"))
    assert result.exit_code == 2
    assert "backups does not begin with a /" in result.output


def test_a_folder_that_cannot_be_made_is_named(app: Flask, backup: Backup, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "backups"
    result = back_up(app, folder)
    assert result.exit_code == 2
    assert f"No backup was made in {folder}: Not a directory." in result.output


def test_the_script_of_each_night_saves_the_database_that_the_settings_name(
    backup: Backup, environment: dict[str, str], tmp_path: Path, redis_url: str
) -> None:
    settings = tmp_path / "env"
    settings.write_text("".join(f"{name}='{value}'\n" for name, value in environment.items()))
    words = SCRIPT.replace("/etc/patient-sync/env", str(settings))
    words = words.replace("/opt/patient-sync/app", str(ROOT))
    words = words.replace(".venv/bin/flask", f"{Path(sys.executable).parent}/flask")
    words = words.replace("/opt/patient-sync/backups", str(tmp_path / "backups"))

    plain = {name: value for name, value in os.environ.items() if name not in environment}
    subprocess.run(["sh", "-c", words], env=plain, check=True, timeout=60)

    assert len(list((tmp_path / "backups").iterdir())) == 1


@pytest.mark.parametrize("database", ["sqlite"])
def test_it_is_restored_where_the_service_has_never_run(backup: Backup, tmp_path: Path) -> None:
    """By the commands of the document, one after the other."""
    backup.make()
    home = tmp_path / "opt"
    (home / "app").mkdir(parents=True)
    (home / "backups").mkdir()
    backup.file.rename(made := home / "backups" / "DATE.db")
    as_them, owner = "sudo -u patient-sync ", "-o patient-sync -g patient-sync"
    programs = (f" *{as_them}mkdir", r"kept=\S+", "mkdir", "install")
    words = "\n".join(map(command, programs)).replace("/opt/patient-sync", str(home))
    words = words.replace(as_them, "").replace(owner, "")

    subprocess.run(["sh", "-c", words], check=True, timeout=60)

    instance = home / "app" / "instance"
    assert instance.stat().st_mode & 0o777 == 0o700
    assert (instance / "patient_sync.db").read_bytes() == made.read_bytes()
