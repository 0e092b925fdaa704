"""Connections to the database that were lost while nobody used them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock, patch

import pytest
from flask import Flask
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from config import Settings
from tests.support.postgres_server import PostgresServer
from tests.support.read_only import only_to_be_read
from webapp import create_core, postgresql
from webapp.errors import ErrorCode
from webapp.extensions import db, read_alone, transaction
from webapp.sync.database_trouble import closing_after


@pytest.fixture
def database() -> str:
    return "postgresql"


@pytest.fixture
def ping(app: Flask) -> Iterator[Mock]:
    """Called whenever a connection is asked whether it lives."""
    dialect = db.engine.dialect
    with patch.object(dialect, "do_ping", side_effect=dialect.do_ping) as ping:
        yield ping


def one() -> int:
    with transaction() as session:
        return int(session.execute(text("SELECT 1")).scalar_one())


def lose_all_connections() -> None:
    """As a database that starts anew does it."""
    everybody_else = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    engine = create_engine(db.engine.url)
    with engine.begin() as connection:
        connection.execute(text(everybody_else))
    engine.dispose()


def age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every connection be idle for longer than it is trusted."""
    monkeypatch.setattr(postgresql, "TRUSTED_SECONDS", 0.0)


def test_a_connection_that_was_lost_while_idle_is_replaced(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one() == 1
    lose_all_connections()
    age(monkeypatch)
    assert one() == 1


def test_one_that_was_lost_just_after_its_use_fails_once_and_no_more(app: Flask) -> None:
    assert one() == 1
    lose_all_connections()
    with pytest.raises(OperationalError):
        one()
    assert one() == 1


def test_a_connection_in_steady_use_is_not_asked_whether_it_lives(
    ping: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        one()
    ping.assert_not_called()
    age(monkeypatch)
    one()
    ping.assert_called_once()


def test_a_lone_read_leaves_the_connection_as_it_was(app: Flask) -> None:
    for _ in range(2):
        with read_alone() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
            assert driver_of(connection).autocommit
        with transaction() as session:
            assert not driver_of(session.connection()).autocommit


def test_what_only_reads_stays_prepared_from_one_request_to_the_next(app: Flask) -> None:
    """The driver prepares what it was asked five times, and forgets it at each rollback."""
    for _ in range(7):
        assert db.session.execute(text("SELECT 41 + 1")).scalar_one() == 42
        assert driver_of(db.session.connection()).autocommit
        db.session.remove()

    prepared = text("SELECT sum(generic_plans + custom_plans) FROM pg_prepared_statements")
    assert db.session.scalar(prepared) == 2


def test_what_is_written_is_in_a_transaction_also_after_reading(app: Flask) -> None:
    db.session.execute(text("SELECT 1"))
    with transaction() as session:
        session.execute(text("CREATE TABLE half_done (id int)"))
        session.rollback()
    assert db.session.scalar(text("SELECT to_regclass('half_done')")) is None


def test_a_server_that_went_without_a_word_is_given_up(app: Flask) -> None:
    """In seconds, by what the driver was told: a kernel that answers cannot be silenced here."""
    with read_alone() as connection:
        told = driver_of(connection).info.get_parameters()
    assert int(told["tcp_user_timeout"]) == 20_000
    probes = (told[f"keepalives_{name}"] for name in ("idle", "interval", "count"))
    assert [*probes] == ["5", "5", "3"]


def test_a_server_that_may_only_be_read_is_one_that_is_away(app: Flask) -> None:
    """As the one before a failover, to which the connections still lead."""
    with only_to_be_read():
        with pytest.raises(OperationalError) as raised, transaction() as session:
            session.execute(text("CREATE TABLE nothing (id int)"))
        assert closing_after(raised.value).error_code is ErrorCode.DATABASE_UNAVAILABLE


def test_its_connection_is_not_used_again(app: Flask) -> None:
    backend = text("SELECT pg_backend_pid()")
    with transaction() as session:
        before = session.scalar(backend)
        session.execute(text("SET TRANSACTION READ ONLY"))
        with pytest.raises(OperationalError):
            session.execute(text("CREATE TABLE nothing (id int)"))
        session.rollback()
    assert db.session.scalar(backend) != before


def driver_of(connection: Connection) -> Any:
    return connection.connection.driver_connection


def test_a_database_that_cannot_hold_every_name_is_one_that_is_away(
    postgres: PostgresServer, settings: Settings
) -> None:
    """Also for a worker on another machine, before it has read a patient."""
    with postgres.encoded("LATIN1") as url:
        app = create_core(replace(settings, database_url=url))
        with app.app_context():
            for _ in range(2):
                with pytest.raises(OperationalError, match="encoding is LATIN1") as raised:
                    one()
                assert closing_after(raised.value).error_code is ErrorCode.DATABASE_UNAVAILABLE
