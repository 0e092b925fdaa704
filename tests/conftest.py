"""The fixtures of every test: a real Redis, a real database, the cast, and a Cliniko to talk to."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from jinja2 import FileSystemBytecodeCache
from redis import Redis
from sqlalchemy import create_engine, delete, text

from config import Settings, load
from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.cast import NORTHSIDE_KEY, PASSWORD, SURF_KEY, Cast, loaded_cast, make_cast
from tests.support.canaries import Search, WatchedLog
from tests.support.compiled_rules import compiled_rules  # noqa: F401  (a fixture)
from tests.support.compiled_statements import compiled_statements  # noqa: F401  (a fixture)
from tests.support.mailbox import Mailbox, mailbox
from tests.support.postgres_server import PostgresServer, PostgresUnavailable, postgres_server
from tests.support.receiver import Receiver, receiver
from tests.support.redis_server import redis_server
from tests.support.running_system import RunningSystem, running_system
from webapp import create_app, create_core
from webapp.extensions import db
from webapp.models import User, WebhookDelivery, WebhookEndpoint
from webapp.services import callers
from webapp.services.webhooks import endpoints

# Tests that run in several processes share a server that was given to them.
TEMPLATE = f"patient_sync_template_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
TEMPLATE_WITH_CAST = f"{TEMPLATE}_with_cast"
# Hundreds of databases are made and dropped; plans and figures are those of the test's own doing.
NOTHING_BY_ITSELF = (
    "autovacuum=off",
    "checkpoint_timeout=1h",
    "max_wal_size=4GB",
    "max_wal_senders=0",
    "wal_level=minimal",
)
SECRET_KEY = "a secret for tests only, long enough to be accepted"
AUDIT_KEY = "a key of the audit trail for tests only"
CREDENTIALS_KEY = "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk="

# The same examples in every run, however slow the machine: one that fails is somebody's change.
# `--hypothesis-profile random` looks for new ones.
hypothesis_settings.register_profile(
    "random", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.register_profile(
    "steady", hypothesis_settings.get_profile("random"), derandomize=True
)
hypothesis_settings.load_profile("steady")


# Each process takes whole files: the longest first, then those of many tests, or at the end
# all wait for one of them.
LONG = (
    "tests/faults/",
    "tests/test_worker.py",
    "tests/fuzz/",
    "tests/access/",
    "tests/browser/test_every_page.py",
    "tests/browser/test_sync_all.py",
    "tests/contract/test_examples.py",
    "tests/sync/test_lost_connections.py",
    "tests/sync/test_engine.py",
    "tests/pages/test_escaping.py",
    "tests/sync/test_a_month_of_changes.py",
)


def _place(path: str) -> int:
    """The longest first; behind all of these whoever is not among them."""
    return next((n for n, each in enumerate(LONG) if path.startswith(each)), len(LONG))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests_of = Counter(item.path for item in items)
    items.sort(key=lambda item: (_place(item.nodeid), -tests_of[item.path], item.path))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis, for the whole run."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server with two migrated databases to copy from, for the whole run."""
    try:
        with postgres_server(*NOTHING_BY_ITSELF) as server:
            _migrate(server.create(TEMPLATE))
            _put_cast_into(server.create(TEMPLATE_WITH_CAST, of=TEMPLATE))
            yield server
    except PostgresUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database to copy from."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def sqlite_template_with_cast(sqlite_template: Path) -> Path:
    """The same with the cast."""
    path = Path(shutil.copy(sqlite_template, sqlite_template.with_stem("with_cast")))
    _put_cast_into(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """The whole system, running, for all tests that ask it over HTTP."""
    with running_system(tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture(scope="session")
def watched_log() -> Iterator[Search]:
    """Everything that is logged in this process is searched for what must never stand there."""
    secret = {
        "the password of all tests": PASSWORD,
        "Surf Rehab's API key": SURF_KEY,
        "Northside's API key": NORTHSIDE_KEY,
        "the secret key": SECRET_KEY,
        "the encryption key": CREDENTIALS_KEY,
        "a field of Cliniko's that is not kept": "CANARY-",
    }
    search = Search(secret)
    handler = WatchedLog(search)
    logging.getLogger().addHandler(handler)
    yield search
    logging.getLogger().removeHandler(handler)


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(watched_log: Search) -> Iterator[None]:
    """A6, over the whole suite: a test whose log holds a secret fails."""
    watched_log.hits.clear()
    yield
    assert watched_log.hits == []


@pytest.fixture
def database() -> str:
    """Which database a test runs on; `tests/sync` and others ask for both."""
    return "sqlite"


@pytest.fixture
def database_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated database; with the cast, for whoever asks for it."""
    with_cast = "cast" in request.fixturenames
    if database == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        with server.clone(TEMPLATE_WITH_CAST if with_cast else TEMPLATE) as url:
            yield url
        return
    path = tmp_path / "patient_sync.db"
    template = "sqlite_template_with_cast" if with_cast else "sqlite_template"
    shutil.copy(request.getfixturevalue(template), path)
    yield f"sqlite:///{path}"


@pytest.fixture
def cliniko() -> Iterator[Simulator]:
    """A Cliniko with the accounts of both clinics; Surf Rehab's has 648 patients."""
    surf, northside = (account.copy() for account in _accounts())
    surf.add_key(SURF_KEY)
    northside.add_key(NORTHSIDE_KEY)
    with Simulator(surf, northside) as simulator:
        yield simulator
    assert simulator.hook_errors == []  # a hook that failed has looked at nothing


@pytest.fixture
def surf_account(cliniko: Simulator) -> ClinikoAccount:
    """Surf Rehab's side at Cliniko, to change while a sync runs."""
    return cliniko.accounts[0]


@pytest.fixture
def there() -> Iterator[Receiver]:
    """Whoever receives what webhooks send."""
    with receiver() as it:
        yield it


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """Where mails arrive."""
    with mailbox() as it:
        yield it


@pytest.fixture
def deleted_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Somebody else deletes all webhooks as soon as a verb of theirs, which is named, is done."""

    def deleted_after(name: str) -> None:
        verb = getattr(endpoints, name)

        def followed(*args: object, **options: object) -> object:
            done = verb(*args, **options)
            db.session.rollback()
            with db.engine.begin() as theirs:
                for table in (WebhookDelivery, WebhookEndpoint):
                    theirs.execute(delete(table))
            return done

        monkeypatch.setattr(endpoints, name, followed)

    return deleted_after


@pytest.fixture
def environment(
    database_url: str, redis_url: str, cliniko: Simulator, tmp_path: Path
) -> dict[str, str]:
    """The settings of a test, as a process would find them."""
    return {
        "ENV": "development",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CLINIKO_API_URL": cliniko.url,
        "CLINIKO_CONTACT_EMAIL": "tests@example.com",
        "SECRET_KEY": SECRET_KEY,
        "CREDENTIALS_KEYS": CREDENTIALS_KEY,
        "AUDIT_KEYS": AUDIT_KEY,
        "INSTANCE_DIR": str(tmp_path / "instance"),
        "LOG_LEVEL": "debug",  # so that whatever could be logged is, see `nothing_secret_is_logged`
    }


@pytest.fixture
def settings(environment: dict[str, str], tmp_path: Path) -> Settings:
    return load(environment, instance=tmp_path / "instance")


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    """What makes the application; where a worker's is enough, it is `create_core`."""
    return create_app


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """What the templates are translated to, which each application would do anew."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("jinja")))


@pytest.fixture
def app(
    settings: Settings,
    redis_url: str,
    factory: Callable[[Settings], Flask],
    compiled_templates: FileSystemBytecodeCache,
) -> Iterator[Flask]:
    """The application on a fresh database and an empty Redis, inside an application context."""
    Redis.from_url(redis_url).flushdb()
    app = factory(settings)
    app.config["TESTING"] = True
    app.jinja_env.bytecode_cache = compiled_templates
    callers.current.set(callers.SYSTEM)  # the last test may have asked by another way
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def cast(app: Flask) -> Cast:
    """Alice, Bob, Vera, Charlie and their clinics, who are in the database already."""
    return loaded_cast()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser that nobody has signed in with."""
    return app.test_client()


@pytest.fixture
def work(app: Flask) -> Callable[[], None]:
    """Does all queued jobs, in this process."""
    from rq import Queue, SimpleWorker
    from rq.serializers import JSONSerializer

    from webapp.queue import SYNC_QUEUE, redis_connection

    def work() -> None:
        queue = Queue(SYNC_QUEUE, connection=redis_connection(), serializer=JSONSerializer)
        worker = SimpleWorker([queue], connection=redis_connection(), serializer=JSONSerializer)
        worker.work(burst=True, logging_level="WARNING")
        db.session.expire_all()

    return work


@cache
def _accounts() -> tuple[ClinikoAccount, ClinikoAccount]:
    """Both clinics' accounts to copy from: inventing so many patients takes a while."""
    surf = ClinikoAccount.generate(
        name="Surf Rehab", account_id="12345", active=602, archived=36, merged=5, deleted=5, seed=1
    )
    northside = ClinikoAccount.generate(
        name="Northside Physio",
        account_id="67890",
        active=30,
        archived=2,
        merged=0,
        deleted=1,
        seed=2,
    )
    return surf, northside


def _migrate(url: str) -> None:
    """Bring an empty database up to the newest migration."""
    from flask_migrate import Migrate, upgrade

    from webapp.cli import MIGRATIONS

    with _application_on(url) as app:
        Migrate(app, db, directory=str(MIGRATIONS))
        upgrade()


def _put_cast_into(url: str) -> None:
    """Before any moment that a test goes to."""
    with _application_on(url), time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC)):
        make_cast()


@contextmanager
def _application_on(url: str) -> Iterator[Flask]:
    """An application for a template, which afterwards nobody is connected to."""
    settings = load(
        {
            "DATABASE_URL": url,
            "REDIS_URL": "redis://localhost:1",
            "CLINIKO_API_URL": "http://localhost:1",
            "CLINIKO_CONTACT_EMAIL": "tests@example.com",
            "SECRET_KEY": SECRET_KEY,
            "CREDENTIALS_KEYS": CREDENTIALS_KEY,
            "AUDIT_KEYS": AUDIT_KEY,
        },
        instance=Path("instance"),
    )
    app = create_core(settings)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()
    if url.startswith("sqlite"):
        with create_engine(url).connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))


def as_user(app: Flask, user: User) -> FlaskClient:
    """A program that calls the API with this person's token."""
    from webapp.services import tokens

    token, _ = tokens.issue(user)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client
