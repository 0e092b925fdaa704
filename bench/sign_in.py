"""Whether the time of a refused sign-in tells if an account exists.

    .venv/bin/python -m bench.sign_in --rounds 200

One browser and one program give wrong passwords to a web server as it runs outside: of an address
that nobody has, of a person, of one who was deactivated, and of one who was invited and has no
password yet. Each round asks once of each in another order, every time from another address, so
that no limit is reached. Links to choose a password are made by people who are signed in, and by
commands: there is no form by which a stranger could ask for one.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import requests

from bench.ours import CSRF, PASSWORD
from bench.system import postgresql, system
from bench.tables import origin, publish, table
from tests.support.gunicorn_server import gunicorn
from webapp.extensions import db, transaction
from webapp.models import Role
from webapp.services import passwords, people

KINDS = ("nobody's address", "wrong password", "deactivated", "invited")
WARM_UP = 10  # rounds that do not count
TRIES_OF_AN_ACCOUNT = 8  # by both ways; after ten they are limited

Try = Callable[[str], requests.Response]


def main() -> None:
    """Measure, and print a line for each kind of account and each way in."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    said = parser.parse_args()
    rows = [row for database in said.databases for row in _measured(said, database)]
    columns = ["", *KINDS, "largest difference of medians"]
    words = "Milliseconds, median / 99 %:"
    publish("\n\n".join((origin("bench.sign_in"), words, table(columns, rows))), said.markdown)


def _measured(said: argparse.Namespace, database: str) -> list[list[str]]:
    accounts = 2 * (said.rounds + WARM_UP) // TRIES_OF_AN_ACCOUNT + 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        url = ""
        if database == "postgresql":
            url = stack.enter_context(postgresql()).create("sign_in")
        # Nothing of Cliniko is asked.
        app = stack.enter_context(
            system(folder, "http://127.0.0.1:1/v1", database_url=url, workers=0)
        )
        _people(accounts)
        environ = os.environ | app.config["ENVIRON"] | {"TRUSTED_PROXIES": "1"}
        address = stack.enter_context(gunicorn(environ, folder / "web.log"))
        doors = {"form": _form(f"http://{address}"), "API": _api(f"http://{address}")}
        return [
            [f"{database}: {name}", *_in_turns(door, said.rounds, accounts)]
            for name, door in doors.items()
        ]


def _people(accounts: int) -> None:
    known, nobodys = passwords.hashed(PASSWORD), passwords.nobodys()
    with transaction():
        for number in range(accounts):
            for kind in KINDS[1:]:
                invited = kind == "invited"
                user = people.add(
                    _email(kind, number),
                    nobodys if invited else known,
                    role=Role.MANAGER,
                    organization_id=1,
                )
                user.invited, user.active = invited, kind != "deactivated"
    db.session.remove()


def _email(kind: str, number: int) -> str:
    return f"{kind[:6].strip()}{number:04}@clinic.example"


def _form(site: str) -> Try:
    browser, others = requests.Session(), _others(10)
    found = CSRF.search(browser.get(f"{site}/sign-in", timeout=60).text)
    assert found is not None
    form = {"csrf_token": found[1], "password": "not the password of anybody"}
    return lambda email: browser.post(
        f"{site}/sign-in", form | {"email": email}, headers=others(), timeout=60
    )


def _api(site: str) -> Try:
    program, others = requests.Session(), _others(11)
    body = {"password": "not the password of anybody"}
    return lambda email: program.post(
        f"{site}/api/v1/auth/token", json=body | {"email": email}, headers=others(), timeout=60
    )


def _others(network: int) -> Callable[[], dict[str, str]]:
    """Another caller each time."""
    numbers = count()

    def header() -> dict[str, str]:
        number = next(numbers)
        return {"X-Forwarded-For": f"{network}.{number >> 16}.{number >> 8 & 255}.{number & 255}"}

    return header


def _in_turns(door: Try, rounds: int, accounts: int) -> list[str]:
    milliseconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    dice = random.Random(4)
    for number in range(WARM_UP + rounds):
        for kind in dice.sample(KINDS, len(KINDS)):
            began = time.perf_counter()
            answer = door(_email(kind, number % accounts))
            took = (time.perf_counter() - began) * 1000
            assert answer.status_code == 401, (kind, answer.status_code, answer.text)
            if number >= WARM_UP:
                milliseconds[kind].append(took)
    medians = [statistics.median(times) for times in milliseconds.values()]
    late = [sorted(times)[int(len(times) * 0.99)] for times in milliseconds.values()]
    figures = [f"{median:.1f} / {at_99:.1f}" for median, at_99 in zip(medians, late, strict=True)]
    return [*figures, f"{max(medians) - min(medians):.1f}"]


if __name__ == "__main__":
    main()
