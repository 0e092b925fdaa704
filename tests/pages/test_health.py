"""GET /healthz and /readyz"""

from __future__ import annotations

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import create_engine, text, update

from tests.pages.visitor import Visitor
from tests.support.databases import on_both
from tests.support.read_only import only_to_be_read
from webapp import queue
from webapp.extensions import LOCK_TIMEOUT_MS, db
from webapp.models import AuditChain
from webapp.services import audit
from webapp.services.audit_events import Event


@pytest.fixture
def without_redis(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.extensions, "redis", Redis.from_url("unix:///nowhere/redis.sock"))


@pytest.fixture
def without_database(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(db.engines, None, create_engine("sqlite:////nowhere/at/all.db"))


def assert_not_ready(visitor: Visitor, missing: str, error_code: str) -> None:
    answer = visitor.get("/readyz")
    assert answer.status_code == 503
    told = answer.get_json()
    assert (told.pop("status"), told.pop("missing")) == ("not ready", [missing])
    assert missing in told.pop("message")
    assert told == {"error": True, "error_code": error_code, "details": {}}


def test_a_whole_system_is_alive_and_ready(visitor: Visitor) -> None:
    assert visitor.get("/healthz").get_json() == {"status": "alive"}
    assert visitor.get("/readyz").get_json() == {"status": "ready"}


@pytest.mark.usefixtures("without_redis")
def test_without_redis_it_is_alive_but_not_ready(visitor: Visitor) -> None:
    assert_not_ready(visitor, "queue", "QUEUE_UNAVAILABLE")
    assert visitor.get("/healthz").status_code == 200


def test_a_redis_that_takes_nothing_is_not_ready(visitor: Visitor) -> None:
    redis = queue.redis_connection()
    redis.config_set("maxmemory", 1)
    try:
        assert_not_ready(visitor, "queue", "QUEUE_UNAVAILABLE")
    finally:
        redis.config_set("maxmemory", 0)


@pytest.mark.usefixtures("without_database")
def test_without_a_database_it_is_alive_but_not_ready(visitor: Visitor) -> None:
    assert_not_ready(visitor, "database", "DATABASE_UNAVAILABLE")
    assert visitor.get("/healthz").status_code == 200


def test_a_database_behind_its_migrations_is_not_ready(visitor: Visitor) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    assert_not_ready(visitor, "migrations", "DATABASE_UNAVAILABLE")


@on_both
def test_a_database_that_may_only_be_read_is_alive_but_not_ready(visitor: Visitor) -> None:
    with only_to_be_read():
        assert_not_ready(visitor, "database", "DATABASE_UNAVAILABLE")
        assert visitor.get("/healthz").status_code == 200
    assert visitor.get("/readyz").status_code == 200


@on_both
def test_one_that_somebody_writes_to_just_now_is_ready(visitor: Visitor) -> None:
    audit.note(Event.SIGNED_IN)
    with db.engine.connect() as theirs, theirs.execution_options(begin="IMMEDIATE").begin():
        theirs.execute(update(AuditChain).values(length=AuditChain.length))
        assert visitor.get("/readyz").status_code == 200
    audit.try_to_write()


def test_asking_leaves_the_next_one_their_patience(visitor: Visitor) -> None:
    visitor.get("/readyz")
    with db.engine.connect() as connection:
        waits = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert waits == LOCK_TIMEOUT_MS


def test_asking_leaves_no_cookie(visitor: Visitor) -> None:
    assert "Set-Cookie" not in visitor.get("/healthz").headers
