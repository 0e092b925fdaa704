"""GET /healthz and /readyz"""

from __future__ import annotations

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import create_engine, text

from tests.pages.visitor import Visitor
from webapp.extensions import db


@pytest.fixture
def without_redis(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.extensions, "redis", Redis.from_url("unix:///nowhere/redis.sock"))


@pytest.fixture
def without_database(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(db.engines, None, create_engine("sqlite:////nowhere/at/all.db"))


def test_a_whole_system_is_alive_and_ready(visitor: Visitor) -> None:
    assert visitor.get("/healthz").get_json() == {"status": "alive"}
    assert visitor.get("/readyz").get_json() == {"status": "ready"}


@pytest.mark.usefixtures("without_redis")
def test_without_redis_it_is_alive_but_not_ready(visitor: Visitor) -> None:
    answer = visitor.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json() == {"status": "not ready", "missing": ["queue"]}
    assert visitor.get("/healthz").status_code == 200


@pytest.mark.usefixtures("without_database")
def test_without_a_database_it_is_alive_but_not_ready(visitor: Visitor) -> None:
    answer = visitor.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json() == {"status": "not ready", "missing": ["database"]}
    assert visitor.get("/healthz").status_code == 200


def test_a_database_behind_its_migrations_is_not_ready(visitor: Visitor) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    answer = visitor.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json() == {"status": "not ready", "missing": ["migrations"]}


def test_asking_leaves_no_cookie(visitor: Visitor) -> None:
    assert "Set-Cookie" not in visitor.get("/healthz").headers
