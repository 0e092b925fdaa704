"""The web server on a crowd, and those who ask it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from bench.crowd import environ
from config import load
from tests.support.gunicorn_server import gunicorn
from tests.support.redis_server import redis_server
from webapp import create_core
from webapp.extensions import db
from webapp.models import Role
from webapp.services import people, tokens

PEOPLE = 12  # a person may ask 120 times a minute of one clinic
PASSWORD = "a password for measuring only"


@dataclass
class Site:
    """The address of a running web server, and the tokens of those who may ask it."""

    address: str
    tokens: list[str]
    _sessions: list[requests.Session] = field(default_factory=list, repr=False)

    def ask(self, clinic: int, search: str, offset: int, turn: int) -> None:
        """Ask for a page of patients over one connection, each time as somebody else."""
        if not self._sessions:
            self._sessions.append(requests.Session())
        answer = self._sessions[0].get(
            f"http://{self.address}/api/v1/cliniko/active-patients/{clinic}",
            params={"search": search, "offset": str(offset)},
            headers={"Authorization": f"Bearer {self.tokens[turn % len(self.tokens)]}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text


@contextmanager
def site(database_url: str, folder: Path) -> Iterator[Site]:
    """The web server as it runs outside, with a Redis of its own, on this database."""
    with redis_server() as redis_url:
        settings = environ(database_url, folder) | {"REDIS_URL": redis_url}
        app = create_core(load(settings, instance=folder))
        with app.app_context():
            given = [_token(number) for number in range(PEOPLE)]
            db.session.remove()
            db.engine.dispose()
        with gunicorn(os.environ | settings, folder / "web.log") as address:
            yield Site(str(address), given)


def _token(number: int) -> str:
    person = people.create(f"caller-{number}@example.com", PASSWORD, role=Role.ADMIN)
    return tokens.issue(person)[0]
