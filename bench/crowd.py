"""A crowd of invented patients in many clinics, put straight into a migrated database.

Pages of a hundred, the clinics in turn, as if all of them were synced at once: the rows of one
clinic lie scattered over the table.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec
from flask import Flask
from flask_migrate import Migrate, upgrade
from psycopg import sql
from sqlalchemy import Connection

from config import ROOT, load
from simulator.invention import invented_records
from webapp import create_core
from webapp.cli import MIGRATIONS
from webapp.cliniko.records import PatientRecord, PatientState, parse_patient
from webapp.extensions import db
from webapp.models import Organization
from webapp.sync.bulk import COLUMNS, Row, rows_of
from webapp.sync.target import Target

SYNCED_AT = datetime(2026, 11, 1, 10, 30, tzinfo=UTC)
CHANGED_DAYS = 100  # the last changes lie so many days apart

_PAGE = 100
_LAST_SYNCED = COLUMNS.index("last_synced")
_SHARES = {PatientState.ACTIVE: 84, PatientState.ARCHIVED: 10, PatientState.MERGED: 3}
_SHARES |= {PatientState.DELETED: 3}

# The simulator has sixty last names; a third of the patients bears one of two thousand instead.
_BEGINNINGS = (
    "Ald", "Amber", "Ash", "Barn", "Beck", "Birch", "Black", "Brad", "Bram", "Bur", "Cald",
    "Clay", "Cole", "Crom", "Dun", "East", "Elm", "Fair", "Fen", "Gold", "Green", "Hal", "Ham",
    "Hart", "Hazel", "High", "Hol", "Kirk", "Lang", "Long", "Mer", "Mid", "Nor", "Oak", "Pem",
    "Red", "Sand", "Shel", "Stan", "Sut", "Thorn", "Wal", "West", "Whit", "Win", "Wood",
)  # fmt: skip
_ENDS = (
    "acre", "bank", "berg", "borough", "bourne", "bridge", "brook", "bury", "by", "combe",
    "court", "croft", "dale", "den", "dyke", "field", "fold", "ford", "gate", "grave", "ham",
    "hill", "holt", "house", "hurst", "land", "leigh", "ley", "low", "man", "marsh", "mere",
    "mont", "more", "ney", "path", "pool", "ridge", "shaw", "side", "stead", "stock", "ton",
    "wall", "well", "wick", "wood", "worth",
)  # fmt: skip


def patients(clinic: int, count: int) -> Iterator[PatientRecord]:
    """The patients of one clinic, in every state, the same ones each time."""
    dice = random.Random(clinic)
    states = dice.choices([*_SHARES], [*_SHARES.values()], k=count)
    for state, raw in zip(states, invented_records(clinic, numeric_ids=False), strict=False):
        record = parse_patient(raw)
        if dice.random() < 1 / 3:
            name = dice.choice(_BEGINNINGS) + dice.choice(_ENDS)
            mail = record.email and f"{name.lower()}.{dice.randrange(10_000)}@mail.example.com"
            record = msgspec.structs.replace(record, last_name=name, email=mail)
        yield msgspec.structs.replace(record, state=state)


def environ(database_url: str, folder: Path) -> dict[str, str]:
    """The settings of every process that asks this database; none of them asks Cliniko."""
    return {
        "DATABASE_URL": database_url,
        "INSTANCE_DIR": str(folder),
        "REDIS_URL": "redis://127.0.0.1:1",
        "CLINIKO_API_URL": "http://127.0.0.1:1/v1",
        "CLINIKO_CONTACT_EMAIL": "bench@example.com",
    }


def application(database_url: str, folder: Path) -> Flask:
    """The application without its pages."""
    return create_core(load(environ(database_url, folder), instance=folder))


def empty_database(database_url: str, folder: Path) -> Flask:
    """An application on a database without a clinic, brought up to the newest migration."""
    app = application(database_url, folder)
    Migrate(app, db, directory=str(MIGRATIONS))
    with app.app_context():
        upgrade()
        db.session.remove()
    return app


def crowded_sqlite(clinics: int, each: int) -> Path:
    """A SQLite database with this crowd; made once, until migrations or inventions change."""
    sources = [*MIGRATIONS.glob("versions/*.py"), Path(__file__), *ROOT.glob("simulator/*.py")]
    sources += [ROOT / "webapp/sync/bulk.py", ROOT / "webapp/services/search.py"]
    content = b"".join(source.read_bytes() for source in sorted(sources))
    key = hashlib.blake2b(content + f"{clinics} {each}".encode(), digest_size=8).hexdigest()
    made = Path(tempfile.gettempdir()) / f"patient-sync-crowd-{key}.db"
    if not made.exists():
        begun = made.with_suffix(f".{os.getpid()}")
        app = empty_database(f"sqlite:///{begun}", begun.parent)
        with app.app_context():
            add_clinics(clinics)
            with db.engine.connect() as connection:
                insert(connection, rows(clinics, each))
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            db.engine.dispose()
        begun.rename(made)
    return made


def add_clinics(count: int) -> None:
    """So many clinics; their ids begin with 1."""
    db.session.add_all(Organization(name=f"Clinic {number}") for number in range(1, count + 1))
    db.session.commit()


def rows(clinics: int, each: int) -> Iterator[Row]:
    """The rows of all patients, in the order in which they are stored."""
    crowds = [(clinic, patients(clinic, each)) for clinic in range(1, clinics + 1)]
    for begin in range(0, each, _PAGE):
        changed = SYNCED_AT - timedelta(days=CHANGED_DAYS * (1 - begin / each))
        for clinic, crowd in crowds:
            page = list(islice(crowd, min(_PAGE, each - begin)))
            seen = rows_of(Target(clinic, 1, "au1"), page[:1], SYNCED_AT)[0][_LAST_SYNCED]
            for row in rows_of(Target(clinic, 1, "au1"), page, changed):
                yield (*row[:_LAST_SYNCED], seen, *row[_LAST_SYNCED + 1 :])


def rows_in(path: Path) -> Iterator[Row]:
    """The rows of all patients of a SQLite database, in the order in which they were stored."""
    with sqlite3.connect(path) as source:
        yield from source.execute(f"SELECT {', '.join(COLUMNS)} FROM patients ORDER BY id")


def insert(connection: Connection, rows: Iterator[Row]) -> None:
    """Put rows into the table, as fast as the database takes them, in one transaction."""
    with connection.begin():
        driver = connection.connection.driver_connection
        assert driver is not None
        if connection.dialect.name == "sqlite":
            places = ", ".join("?" * len(COLUMNS))
            statement = f"INSERT INTO patients ({', '.join(COLUMNS)}) VALUES ({places})"
            driver.executemany(statement, rows)
            return
        names = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        with driver.cursor().copy(sql.SQL("COPY patients ({}) FROM STDIN").format(names)) as copy:
            for row in rows:
                copy.write_row(row)
