"""What each index of the patients costs a sync.

A hundred thousand new patients, as a sync stores them, then all of them seen again unchanged; with
all indexes, without one of them, and with others in their place. The variants take turns, each on
an empty database of its own.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from sqlalchemy import text

from bench.crowd import SYNCED_AT, add_clinics, crowded_sqlite, empty_database, rows_in
from bench.system import postgresql
from tests.support.postgres_server import PostgresServer
from webapp.extensions import db, transaction
from webapp.models.patient import FITS_INTO_THE_LIST
from webapp.sync.bulk import KEY, Row, upsert
from webapp.sync.rows import mark_seen
from webapp.sync.target import Target

CLINICS = 5
PATIENTS = 100_000
PAGE = 500

_SORTED = "CREATE INDEX before_{} ON patients (organization_id, {}sort_key, id)"
_BEFORE = (_SORTED.format(1, "state, "), _SORTED.format(2, ""))
_LONG, _GONE = "ix_patients_too_long_for_the_list", "ix_patients_deleted"
_VARIANTS: dict[str, tuple[str, ...]] = {
    "as they are": (),
    "without the overlong": (f"DROP INDEX {_LONG}",),
    "without the deleted": (f"DROP INDEX {_GONE}",),
    "with an index of states": ("CREATE INDEX more ON patients (organization_id, state)",),
    "and of last_synced": ("CREATE INDEX more ON patients (organization_id, state, last_synced)",),
}
_LIST = (
    "CREATE INDEX one ON patients (organization_id, sort_key, id, state, last_changed, search_text,"
    f" search_digits) WHERE {FITS_INTO_THE_LIST}"
)
_ORDER, _SEARCH = "DROP INDEX ix_patients_order", "DROP INDEX ix_patients_search"
VARIANTS = {
    "sqlite": _VARIANTS
    | {
        "without the list": ("DROP INDEX ix_patients_list",),
        "two without texts for it": ("DROP INDEX ix_patients_list", *_BEFORE),
    },
    "postgresql": _VARIANTS
    | {
        "without that of the order": (_ORDER,),
        "without that of searches": (_SEARCH,),
        "one for both": (_ORDER, _SEARCH, _LIST),
        # Less room in each page for new versions of its rows.
        "15 % free": ("ALTER TABLE patients SET (fillfactor = 85)",),
        "nothing free": ("ALTER TABLE patients SET (fillfactor = 100)",),
    },
}
_HOT = """
    SELECT 100.0 * n_tup_hot_upd / n_tup_upd FROM pg_stat_user_tables WHERE relname = 'patients'
"""


def measure(database: str, rounds: int) -> None:
    """Print a line for each variant."""
    crowd = list(islice(rows_in(crowded_sqlite(CLINICS, PATIENTS // CLINICS)), PATIENTS))
    figures: dict[str, list[tuple[float, float, float, float, float]]] = {}
    with ExitStack() as stack:
        server = stack.enter_context(postgresql()) if database == "postgresql" else None
        for _ in range(rounds):
            for name, changes in VARIANTS[database].items():
                figures.setdefault(name, []).append(_one(server, changes, crowd))
    print(f"{database}, {PATIENTS:,} patients, medians of {rounds}; seconds and ratio")
    print(f"{'':28}{'stored':>8}{'':>7}{'again':>8}{'':>7}{'third':>8}{'':>7}{'MB':>7}{'HOT':>7}")
    medians = {
        name: [*map(statistics.median, zip(*each, strict=True))] for name, each in figures.items()
    }
    whole = medians["as they are"]
    for name, (*seconds, size, hot) in medians.items():
        ratios = [
            f"{took:8.2f}{took / base:6.2f}x" for took, base in zip(seconds, whole, strict=False)
        ]
        print(f"{name:28}{''.join(ratios)}{size:7.0f}{hot:6.0f}%")


def _one(
    server: PostgresServer | None, changes: tuple[str, ...], crowd: list[Row]
) -> tuple[float, float, float, float, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        url = server.create("bench") if server else f"sqlite:///{folder}/bench.db"
        app = empty_database(url, Path(folder))
        with app.app_context():
            add_clinics(CLINICS)
            with db.engine.begin() as connection:
                for change in changes:
                    connection.execute(text(change))
            pages = [crowd[begin : begin + PAGE] for begin in range(0, len(crowd), PAGE)]
            stored = _timed(lambda page: upsert(page), pages)
            again = _timed(lambda page: _seen_again(page, 2), pages)
            third = _timed(lambda page: _seen_again(page, 3), pages)
            size, hot = _size_and_hot(server is not None)
            db.session.remove()
            db.engine.dispose()
    return stored, again, third, size, hot


def _timed(work: Callable[[list[Row]], None], pages: list[list[Row]]) -> float:
    began = time.perf_counter()
    for page in pages:
        with transaction():
            work(page)
    return time.perf_counter() - began


def _seen_again(page: list[Row], sync_id: int) -> None:
    by_clinic: dict[int, list[str]] = {}
    for row in page:
        by_clinic.setdefault(row[KEY + 1], []).append(row[KEY])
    for clinic, keys in by_clinic.items():
        mark_seen(Target(clinic, sync_id, "au1"), keys, SYNCED_AT)


def _size_and_hot(postgres: bool) -> tuple[float, float]:
    with db.engine.connect() as connection:
        if not postgres:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            return pages * 4096 / 1e6, 0
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        size = connection.execute(text("SELECT pg_total_relation_size('patients')")).scalar_one()
        hot = connection.execute(text(_HOT)).scalar_one()
        return size / 1e6, float(hot)
