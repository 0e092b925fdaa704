"""Backups: all that the database holds, in one file, made while the system runs."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

from psycopg.conninfo import make_conninfo

from webapp.extensions import db, on_postgresql
from webapp.services import audit
from webapp.services.audit_events import Event

KEPT = timedelta(days=14)
_OURS = re.compile(r"\d{4}-\d\d-\d\d-\d{6}\.(db|dump)")
_UNFINISHED = re.compile(r"unfinished-\d+")
_UNFINISHED_FOR = timedelta(days=1)  # longer than any takes: what made it was killed


class BackupFailed(Exception):
    """No backup was made; the text says why."""


def make(folder: Path) -> Path:
    """Write a backup into a folder, which is made if it is not there, and remove those of ours in
    it that are older than KEPT. Returns the file, which nobody else may read. Raises BackupFailed.

    SQLite's is a database, to be put in the place of ours; PostgreSQL's is for `pg_restore`. That
    it was made is recorded if it can be: a backup is worth most where something is broken.
    """
    write, suffix = (_dump, "dump") if on_postgresql() else (_copy, "db")
    unfinished = folder / f"unfinished-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove(folder, _UNFINISHED, _UNFINISHED_FOR)
        unfinished.touch(mode=0o600)  # either program writes into an empty file that is there
        write(unfinished)
        _onto_disk(unfinished)
        made = unfinished.rename(folder / time.strftime(f"%Y-%m-%d-%H%M%S.{suffix}"))
        _onto_disk(folder)
    except OSError as error:
        raise BackupFailed(f"No backup was made in {folder}: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()
    audit.note_anyway(Event.BACKED_UP)
    try:
        _remove(folder, _OURS, KEPT)
    except OSError as error:
        raise BackupFailed(
            f"{made} was written, but older ones could not be removed: {error.strerror}."
        ) from error
    return made


def _copy(file: Path) -> None:
    database = Path(str(db.engine.url.database)).absolute().as_uri()
    try:
        with closing(sqlite3.connect(f"{database}?mode=ro", uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(file),))
    except sqlite3.Error as error:
        raise BackupFailed(f"SQLite could not save the database: {error}.") from error


def _dump(file: Path) -> None:
    _, parts = db.engine.dialect.create_connect_args(db.engine.url)
    # On a command line everybody on the machine could read it.
    password = parts.pop("password", None)
    address = make_conninfo(**{name: parts[name] for name in parts if name != "context"})
    command = [
        "pg_dump",
        "--format=custom",
        "--no-password",
        f"--file={file}",
        f"--dbname={address}",
    ]
    environment = os.environ | ({"PGPASSWORD": password} if password else {})
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        raise BackupFailed(
            "pg_dump is not installed: it comes with the package postgresql-client, and must not "
            "be older than the server."
        ) from None
    if done.returncode:
        raise BackupFailed(
            f"PostgreSQL's pg_dump could not save the database: {done.stderr.strip()}"
        )


def _onto_disk(path: Path) -> None:
    """Neither SQLite nor a change of name waits for the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path, names: re.Pattern[str], older_than: timedelta) -> None:
    oldest = time.time() - older_than.total_seconds()
    for each in folder.iterdir():
        if names.fullmatch(each.name):
            with suppress(FileNotFoundError):  # another one that runs at the same time was quicker
                if each.is_file() and each.stat().st_mtime < oldest:
                    each.unlink()
