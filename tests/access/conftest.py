"""One walk through the whole matrix, for all tests of it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from redis import Redis

from config import load
from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.access import actors, clinics, table
from tests.access.walk import GONE, Walk
from tests.cast import NORTHSIDE_KEY, SURF_KEY
from tests.conftest import AUDIT_KEY, CREDENTIALS_KEY, SECRET_KEY
from tests.support.quick_passwords import quick_passwords, quick_passwords_for_all
from webapp import create_app
from webapp.extensions import db

__all__ = ["quick_passwords", "quick_passwords_for_all", "walk"]

TOTALS = "access matrix"  # said of a test, so that it comes back from another process


@pytest.fixture(scope="module")
def walk(
    quick_passwords_for_all: None,
    redis_url: str,
    sqlite_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Walk]:
    """All cases, tried."""
    folder = tmp_path_factory.mktemp("access")
    database = Path(shutil.copy(sqlite_template, folder / "access.db"))
    accounts = [ClinikoAccount.generate(account_id=f"770000000{n}", active=3) for n in (1, 2)]
    with Simulator(*accounts) as cliniko:
        environment = {
            "DATABASE_URL": f"sqlite:///{database}",
            "REDIS_URL": redis_url,
            "CLINIKO_API_URL": cliniko.url,
            "CLINIKO_CONTACT_EMAIL": "tests@example.com",
            "SECRET_KEY": SECRET_KEY,
            "CREDENTIALS_KEYS": CREDENTIALS_KEY,
            "AUDIT_KEYS": AUDIT_KEY,
        }
        app = create_app(load(environment, instance=folder / "instance"))
        with app.app_context():
            surf = clinics.make(accounts[0], "surfword", SURF_KEY, date(1888, 7, 6))
            north = clinics.make(accounts[1], "northword", NORTHSIDE_KEY, date(1888, 5, 4))
            everybody = actors.everybody(app, surf)
            db.session.remove()
        with sqlite3.connect(database) as file:  # foreign keys are off here
            file.execute(f"UPDATE users SET organization_id = {GONE} WHERE email LIKE 'astray@%'")
        file.close()
        redis = Redis.from_url(redis_url)
        walk = Walk(app, redis, database, table.routes(), everybody, surf, north)
        walk.run()
        yield walk
        redis.close()
        with app.app_context():
            db.engine.dispose()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases there were, below the results."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, said in report.user_properties:
            if name == TOTALS:
                terminalreporter.write_line(f"{name}: {said}")
