"""A database that says it is damaged: the sync is closed as failed, and says so too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from webapp.errors import ErrorCode
from webapp.extensions import db, transaction
from webapp.models import SyncLog
from webapp.sync import engine
from webapp.sync.database_trouble import closing_after


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_sync_that_meets_damage_says_so(begin: Callable[..., SyncLog], tmp_path: Path) -> None:
    log = begin()
    sync_log_id, attempt = log.id, log.attempt
    db.session.remove()
    db.engine.dispose()
    with closing(sqlite3.connect(tmp_path / "patient_sync.db", isolation_level=None)) as file:
        file.execute("PRAGMA writable_schema = ON")
        other = "SELECT rootpage FROM sqlite_master WHERE type = 'index' LIMIT 1"
        damage = f"UPDATE sqlite_master SET rootpage = ({other}) WHERE name = 'patients'"
        file.execute(damage)

    engine.run(sync_log_id, attempt, worker="test")

    db.session.rollback()
    log = db.session.get_one(SyncLog, sync_log_id)
    assert (log.status, log.error_code) == ("failed", ErrorCode.INTERNAL_ERROR)
    assert "it is damaged" in str(log.error_message)
    assert "migration" not in str(log.error_message)


@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.parametrize("state", ["XX000", "XX001", "XX002"])
def test_what_postgresql_says_of_it_is_understood(app: Flask, state: str) -> None:
    said = f"RAISE EXCEPTION 'invalid page' USING ERRCODE = '{state}'"
    with pytest.raises(DatabaseError) as raised, transaction() as session:
        session.execute(text(f"DO $$ BEGIN {said}; END $$"))
    assert "it is damaged" in closing_after(raised.value).message
