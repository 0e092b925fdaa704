"""How long searches take: a million patients over fifty clinics, eight clients at once.

    .venv/bin/python -m bench.search --database postgresql --when "vacuumed again"
    .venv/bin/python -m bench.search --database sqlite --a-second 2 --seconds 20
    .venv/bin/python -m bench.search --database sqlite --http
    .venv/bin/python -m bench.search --indexes

Each client is a process that asks as soon as it has its answer, of one clinic after the other, as
pages and API do; with `--http` it asks the web server instead. With `--a-second 2` it asks as often
as the API lets anybody, by chance as people do, and its time counts from when it wanted to ask.
They share the machine with the database and the web server. With PostgreSQL everything is asked
four times: after loading, when nothing was vacuumed or analysed yet; after vacuuming; after a sync
has touched every row; and when that was vacuumed too, as the table asks its server to do soon after
each sync. The last rows are the same questions asked with LIKE, and how many times as long they
take.
"""

from __future__ import annotations

import argparse
import gc
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from flask import current_app

from bench import http_clients, indexes, plain
from bench.crowd import (
    add_clinics,
    application,
    crowded_sqlite,
    empty_database,
    insert,
    rows_in,
)
from bench.questions import DEEPEST, QUESTIONS, Question
from bench.system import postgresql
from webapp.extensions import db
from webapp.models import Organization
from webapp.services import counts, patients
from webapp.services.patients import PatientFilter

PER_PAGE = 50
WARM_UP = 5

Ask = Callable[[int, int], None]  # of a clinic, for the nth time


COUNTS = "count of each state"
HTTP = (
    *("first page, no search", "3 letters, common", "5 letters, rare", "nothing found"),
    *("e-mail, everybody's", "phone, four digits", "deepest page"),
)
BY_LIKE = {
    f"{name}, by LIKE": name
    for name in ("first page, no search", "3 letters, common", "nothing found", "e-mail, whole")
}
BY_NAME = {question.name: question for question in QUESTIONS}

_SHARED: list[Any] = []  # by the questions that one client is given


def main() -> None:
    """Measure, and print a line for each question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--clinics", type=int, default=50)
    parser.add_argument("--each", type=int, default=20_000, help="patients of a clinic")
    parser.add_argument("--seconds", type=float, default=2, help="for each question")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--a-second", type=float, default=0, help="as often; without: no pause")
    parser.add_argument("--http", action="store_true", help="ask the web server")
    parser.add_argument("--shared-buffers", default="128MB", help="of PostgreSQL")
    parser.add_argument("--only", default="", help="questions with these letters in their name")
    parser.add_argument("--when", default="", help="only when PostgreSQL's table is so")
    parser.add_argument("--indexes", action="store_true", help="what each index costs a sync")
    parser.add_argument("--rounds", type=int, default=3, help="of --indexes")
    said = parser.parse_args()
    if said.indexes:
        indexes.measure(said.database, said.rounds)
        return
    crowd = crowded_sqlite(said.clinics, said.each)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        if said.database == "sqlite":
            shutil.copy(crowd, folder / "crowd.db")
            _table(f"sqlite:///{folder / 'crowd.db'}", said, folder, "SQLite")
            return
        settings = f"shared_buffers={said.shared_buffers}"
        url = stack.enter_context(postgresql(settings)).create("crowd")
        for condition in _conditions_of_postgres(url, crowd, said.clinics, folder):
            if said.when in condition:
                _table(url, said, folder, f"PostgreSQL, {condition}")


def _conditions_of_postgres(url: str, crowd: Path, clinics: int, folder: Path) -> Iterator[str]:
    app = empty_database(url, folder)
    with app.app_context():
        # By hand, so that it does not come in the middle of one of the tables.
        _alone("ALTER TABLE patients SET (autovacuum_enabled = off)")
        add_clinics(clinics)
        with db.engine.connect() as connection:
            insert(connection, rows_in(crowd))
        yield "loaded, not vacuumed"
        _alone("VACUUM ANALYZE patients")
        yield "vacuumed"
        _alone("UPDATE patients SET last_sync_id = 2")
        yield "every row touched since"
        _alone("VACUUM ANALYZE patients")
        yield "and vacuumed again"


def _alone(statement: str) -> None:
    db.session.remove()
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql(statement)
    db.engine.dispose()


def _table(url: str, said: argparse.Namespace, folder: Path, title: str) -> None:
    often = f" that ask {said.a_second:g} times a second" if said.a_second else ""
    clients = f"{said.clients} clients{often}"
    print(f"{title}: {said.clinics} clinics of {said.each:,}, {clients}, milliseconds")
    print(f"{'':30}{'median':>8}{'p99':>8}{'a second':>10}", flush=True)
    with ExitStack() as stack:
        site = stack.enter_context(http_clients.site(url, folder)) if said.http else None
        spawn = get_context("spawn")
        shared = (url, folder, said, site, spawn.Barrier(said.clients))
        pool = stack.enter_context(ProcessPoolExecutor(said.clients, spawn, _begin_client, shared))
        medians: dict[str, float] = {}
        for name in HTTP if site else (*BY_NAME, COUNTS, *BY_LIKE):
            if said.only not in name:
                continue
            work = [pool.submit(_client, number, name) for number in range(said.clients)]
            took = sorted(each for client in work for each in client.result())
            p99 = took[int(len(took) * 0.99)]
            rate = len(took) / said.seconds
            medians[name] = statistics.median(took)
            ours = medians.get(BY_LIKE.get(name, ""))
            ratio = f"{medians[name] / ours:8.1f} x" if ours else ""
            print(f"{name:32}{medians[name]:6.1f}{p99:8.1f}{rate:10.0f}{ratio}", flush=True)


def _begin_client(*shared: Any) -> None:
    url, folder = shared[:2]
    application(url, folder).app_context().push()
    _SHARED.extend(shared[2:])
    # Known here as they are after a completed sync, which has counted them for its certificate.
    for clinic in range(1, shared[2].clinics + 1):
        counts.by_state(db.session.get_one(Organization, clinic))
    db.session.remove()
    # As the web server does; or the collector's way through all of it would be in the figures.
    gc.collect()
    gc.freeze()


def _client(number: int, name: str) -> list[float]:
    """Milliseconds of each answer that one client got. All begin together, when all are ready."""
    said, site, all_ready = _SHARED
    ask = _asking(name, site, said.clinics)
    first = number * said.clinics // said.clients
    for turn in range(WARM_UP):
        ask((first + turn) % said.clinics + 1, turn)
    all_ready.wait()
    took, turn = [], number
    for due in _moments(said, number):
        ask((first + turn) % said.clinics + 1, turn)
        took.append((time.perf_counter() - due) * 1000)
        turn += 1
    return took


def _moments(said: argparse.Namespace, number: int) -> Iterator[float]:
    """When one client asks, each as soon as it has come."""
    dice = random.Random(number)
    due = time.perf_counter()
    until = due + said.seconds
    while due < until:
        if said.a_second:
            due += dice.expovariate(said.a_second)
            time.sleep(max(0, due - time.perf_counter()))
        yield due
        if not said.a_second:
            due = time.perf_counter()


def _asking(name: str, site: http_clients.Site | None, clinics: int) -> Ask:
    if name == COUNTS:
        return _count
    if name in BY_LIKE:
        searches = BY_NAME[BY_LIKE[name]].searches
        return lambda clinic, turn: _plainly(clinic, searches[turn % len(searches)])
    question = BY_NAME[name]
    offsets = {
        (clinic, search): _last_page(clinic, turn, question)
        for clinic in range(1, clinics + 1)
        for turn, search in enumerate(question.searches)
    }

    def ask(clinic: int, turn: int) -> None:
        criteria = question.criteria(turn)
        offset = offsets[clinic, criteria.search]
        if site is not None:
            site.ask(clinic, criteria.search, offset, turn)
        else:
            _find(clinic, criteria, offset)

    return ask


def _last_page(clinic: int, turn: int, question: Question) -> int:
    if question.offset != DEEPEST:
        return question.offset
    total = _find(clinic, question.criteria(turn), 0)
    return max(0, total - 1) // PER_PAGE * PER_PAGE


def _find(clinic: int, criteria: PatientFilter, offset: int) -> int:
    organization = db.session.get_one(Organization, clinic)
    page = patients.find(organization, criteria, limit=PER_PAGE, offset=offset)
    db.session.remove()
    return page.total


def _plainly(clinic: int, search: str) -> None:
    db.session.get_one(Organization, clinic)
    plain.find(clinic, search, limit=PER_PAGE)


def _count(clinic: int, _turn: int) -> None:
    current_app.extensions.pop("counts", None)  # or it would be known from the last time
    counts.by_state(db.session.get_one(Organization, clinic))
    db.session.remove()


if __name__ == "__main__":
    main()
