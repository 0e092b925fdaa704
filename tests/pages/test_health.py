"""GET /healthz and /readyz"""

from __future__ import annotations

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import create_engine, text

from tests.pages.visitor import Visitor
from webapp import queue
from webapp.extensions import db


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


def test_asking_leaves_no_cookie(visitor: Visitor) -> None:
    assert "Set-Cookie" not in visitor.get("/healthz").headers
