"""A worker that is told to end while another writer holds SQLite's lock hands its sync over as soon
as the lock is free."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, update
from sqlalchemy.engine import ExceptionContext

from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import SyncLog
from webapp.sync import database_trouble, engine, recovery

pytestmark = pytest.mark.parametrize("database", ["sqlite"])


class Lock:
    """Another writer's, which is given back after two refusals."""

    def __init__(self, file: Path) -> None:
        self.refused: list[str] = []
        self.connection = sqlite3.connect(file, isolation_level=None)

    def hold(self) -> None:
        if not self.refused:
            driver: Any = db.session.connection().connection.dbapi_connection
            driver.execute("PRAGMA busy_timeout = 0")
            db.session.rollback()
            self.connection.execute("BEGIN IMMEDIATE")

    def after_error(self, context: ExceptionContext) -> None:
        self.refused.append(str(context.original_exception))
        if len(self.refused) == 2:
            self.connection.execute("ROLLBACK")


@pytest.fixture
def lock(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lock]:
    monkeypatch.setattr(database_trouble, "_SHORTEST_PAUSE_SECONDS", 0.001)
    lock = Lock(tmp_path / "patient_sync.db")
    event.listen(db.engine, "handle_error", lock.after_error)
    engine.hand_over_requested.set()
    try:
        with closing(lock.connection):
            yield lock
    finally:
        engine.hand_over_requested.clear()
        event.remove(db.engine, "handle_error", lock.after_error)


def told_to_end(log: SyncLog, lock: Lock) -> SyncLog:
    """A sync as it stands after a worker that had to end has met the lock twice."""
    log_id = log.id
    engine.run(log_id, 1, worker="told to end")
    db.session.rollback()
    assert lock.refused == ["database is locked"] * 2
    return db.session.get_one(SyncLog, log_id)


def test_a_sync_is_handed_over_as_soon_as_the_lock_is_free(
    begin: Callable[..., SyncLog], lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = recovery.hand_over

    def while_locked(*args: Any, **more: Any) -> bool:
        lock.hold()
        return hand_over(*args, **more)

    monkeypatch.setattr(recovery, "hand_over", while_locked)
    log = told_to_end(begin(), lock)
    assert (log.status, log.attempt, log.worker, log.interruptions) == ("running", 2, None, 0)


def test_one_that_was_cancelled_meanwhile_is_closed_as_soon_as_the_lock_is_free(
    begin: Callable[..., SyncLog], lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = recovery.settle

    def while_locked(sync_log_id: int) -> object:
        if not lock.refused:
            with transaction() as session:
                cancelled = update(SyncLog).where(SyncLog.id == sync_log_id)
                session.execute(cancelled.values(cancel_requested_at=now()))
        lock.hold()
        return settle(sync_log_id)

    monkeypatch.setattr(recovery, "settle", while_locked)
    log = told_to_end(begin(), lock)
    assert (log.status, log.error_code) == ("failed", "SYNC_CANCELLED")
