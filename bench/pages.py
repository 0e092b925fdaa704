"""How long the server takes for each page, and how much a first visit transfers.

    .venv/bin/python -m bench.pages --patients 100000

One browser's connection asks each page again and again, after two syncs of so many patients; web
server, Redis and database run beside it. What a first visit transfers is the page with its style
sheet, script and icon, but not htmx, which comes from the CDN.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import requests
from sqlalchemy import select

from bench.ours import PASSWORD, Running, running
from bench.system import postgresql, simulator
from bench.tables import origin, publish, table
from webapp.extensions import db
from webapp.models import Patient, Role
from webapp.services import people

ADMIN = "pages@example.com"
BESIDE = ("/static/app.css", "/static/app.js", "/static/favicon.svg")
PAGES = (
    "/clinics",
    "/clinics/1",
    "/clinics/1/patients",
    "/clinics/1/patients/{patient}",
    "/clinics/1/syncs",
    "/clinics/1/syncs/1",
    "/clinics/1/syncs/1/progress",
    "/clinics/1/syncs/1/changes",
    "/clinics/1/schedule",
    "/clinics/1/webhooks",
    "/clinics/1/settings",
    "/clinics/1/audit",
    "/audit",
    "/people",
    "/api-access",
    "/account",
)


def main() -> None:
    """Measure, and print a line for each page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--requests", type=int, default=200, help="to each page")
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    said = parser.parse_args()
    rows = [row for database in said.databases for row in _measured(said, database)]
    columns = ["", "median ms", "99 % ms", "page KB", "first visit KB"]
    publish("\n\n".join((origin("bench.pages"), table(columns, rows))), said.markdown)


def _measured(said: argparse.Namespace, database: str) -> list[list[str]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        url = ""
        if database == "postgresql":
            url = stack.enter_context(postgresql()).create("pages")
        cliniko = stack.enter_context(simulator(said.patients, 0))
        site = stack.enter_context(running(folder, cliniko, database_url=url))
        for _ in range(2):
            site.open_window()
            site.sync(memory=False)
        people.create(ADMIN, PASSWORD, role=Role.ADMIN)
        patient = db.session.scalars(select(Patient.id).limit(1)).one()
        db.session.remove()
        browser = site.sign_in(ADMIN)
        beside = sum(len(_get(site, browser, path).content) for path in BESIDE)
        return [
            _row(site, browser, f"{database}: {path}", path.format(patient=patient), said, beside)
            for path in PAGES
        ]


def _row(
    site: Running,
    browser: requests.Session,
    name: str,
    path: str,
    said: argparse.Namespace,
    beside: int,
) -> list[str]:
    milliseconds, size = [], 0
    for _ in range(said.requests):
        began = time.perf_counter()
        size = len(_get(site, browser, path).content)
        milliseconds.append((time.perf_counter() - began) * 1000)
    times = sorted(milliseconds)
    figures = (statistics.median(times), times[int(len(times) * 0.99)])
    return [
        name,
        *(f"{each:.1f}" for each in figures),
        *(f"{each / 1000:.1f}" for each in (size, size + beside)),
    ]


def _get(site: Running, browser: requests.Session, path: str) -> requests.Response:
    answer = browser.get(f"http://{site.address}{path}", timeout=60)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer


if __name__ == "__main__":
    main()
