"""The real web server, with a database and a Redis of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from config import load
from script.address import Address
from tests.api.rows import make_log, record, store
from tests.cast import PASSWORD, make_cast
from tests.conftest import AUDIT_KEY, CREDENTIALS_KEY, SECRET_KEY
from tests.support.gunicorn_server import gunicorn
from tests.support.redis_server import RedisServer
from webapp import create_core
from webapp.extensions import db
from webapp.services import tokens


@dataclass(frozen=True)
class Web:
    """A running web server, and tokens of the managers."""

    address: Address
    redis: RedisServer
    database: Path
    log: Path
    tokens: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def ask(
        self, method: str, path: str, *, to: str = "", headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Ask the API in the name of `to`, on a connection of its own."""
        sent = {"Authorization": f"Bearer {self.tokens[to]}"} if to else {}
        url = f"{self.url}/api/v1{path}"
        return requests.request(method, url, headers={**sent, **(headers or {})}, timeout=40)

    def sign_in(self, email: str) -> requests.Session:
        """A browser in which this person has signed in."""
        browser = requests.Session()
        form = browser.get(f"{self.url}/sign-in", timeout=40).text
        token = form.partition('name="csrf_token" value="')[2].partition('"')[0]
        fields = {"csrf_token": token, "email": email, "password": PASSWORD}
        answer = browser.post(f"{self.url}/sign-in", fields, timeout=40, allow_redirects=False)
        assert answer.status_code == 303, answer.text
        return browser


@contextmanager
def serving(folder: Path, template: Path, **settings: str) -> Iterator[Web]:
    """A web server with these settings. Surf Rehab is clinic 1 with sync 1, Northside
    Physio clinic 2 with 500 patients."""
    database = Path(shutil.copy(template, folder / "web.db"))
    with RedisServer() as redis:
        environment = {
            "DATABASE_URL": f"sqlite:///{database}",
            "REDIS_URL": redis.url,
            "CLINIKO_API_URL": "http://127.0.0.1:1/v1",  # nobody asks Cliniko here
            "CLINIKO_CONTACT_EMAIL": "tests@example.com",
            "SECRET_KEY": SECRET_KEY,
            "CREDENTIALS_KEYS": CREDENTIALS_KEY,
            "AUDIT_KEYS": AUDIT_KEY,
            "INSTANCE_DIR": str(folder / "instance"),
            **settings,
        }
        core = create_core(load(environment))
        with core.app_context():
            cast = make_cast()
            make_log(cast.surf)
            store(cast.northside, *(record(n, "Olivia", "Nguyen") for n in range(500)))
            issued = {name: tokens.issue(getattr(cast, name))[0] for name in ("bob", "charlie")}
            issued["bob again"] = tokens.issue(cast.bob)[0]
            db.session.remove()
            db.engine.dispose()
        log = folder / "web.log"
        with gunicorn(environment, log) as address:
            yield Web(address, redis, database, log, issued)


@pytest.fixture(scope="module")
def web(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The web server as it is served without a proxy."""
    with serving(tmp_path_factory.mktemp("web"), sqlite_template) as web:
        yield web
