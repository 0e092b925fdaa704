"""A disk that is full and a database that is busy besides: the sync ends with the reason that asks
for room."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext

from simulator.account import ClinikoAccount
from simulator.server import Simulator
from webapp.errors import ErrorCode
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.services import organizations
from webapp.sync import database_trouble, engine
from webapp.sync.start import start_sync


@pytest.fixture
def clinic(app: Flask, cliniko: Simulator) -> Organization:
    account = ClinikoAccount.generate(account_id="777", seed=7, active=300)
    account.add_key("invented-777-au1")
    cliniko.accounts = (account,)
    return organizations.add("Surf Rehab", "invented-777-au1")


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_sync_that_met_a_full_disk_waits_for_a_lock_to_say_so(
    clinic: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_trouble, "_SHORTEST_PAUSE_SECONDS", 0.001)
    log = start_sync(clinic, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    sync_log_id, attempt = log.id, log.attempt

    with _full_then_locked(tmp_path / "patient_sync.db", times=2) as met:
        engine.run(sync_log_id, attempt, worker="test")

    assert [what for what in met if "savepoint" not in what] == [
        "database or disk is full",
        "database is locked",
        "database is locked",
    ]
    db.session.rollback()
    log = db.session.get_one(SyncLog, sync_log_id)
    assert (log.status, log.error_code) == ("failed", ErrorCode.STORAGE_FULL)


@contextmanager
def _full_then_locked(file: Path, *, times: int) -> Iterator[list[str]]:
    """There is no room for patients; from then on another writer holds the lock for so many tries.
    Yields what SQLite said."""
    met: list[str] = []
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)

    def before_statement(
        connection: Connection, _cursor: object, statement: str, *_rest: object
    ) -> None:
        if statement.startswith("INSERT INTO patients") and not met:
            _driver(connection).execute("PRAGMA busy_timeout = 0")
            _driver(connection).execute("PRAGMA max_page_count = 1")  # as many as it has

    def after_error(context: ExceptionContext) -> None:
        met.append(str(context.original_exception))
        if "locked" in met[-1] and sum("locked" in said for said in met) == times:
            other.execute("ROLLBACK")

    def before_rollback(connection: Connection) -> None:
        if met and not any("locked" in said for said in met) and not other.in_transaction:
            driver = _driver(connection)
            driver.rollback()
            driver.execute("PRAGMA max_page_count = 1000000")
            other.execute("BEGIN IMMEDIATE")

    listeners: list[tuple[str, Callable[..., None]]] = [
        ("before_cursor_execute", before_statement),
        ("handle_error", after_error),
        ("rollback", before_rollback),
    ]
    for name, listener in listeners:
        event.listen(db.engine, name, listener)
    try:
        with closing(other):
            yield met
    finally:
        for name, listener in listeners:
            event.remove(db.engine, name, listener)


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
