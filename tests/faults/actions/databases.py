"""Databases that are locked, full, away, or refuse what they are given."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import text

from simulator.patient import State
from tests.faults.injection import Action, Injection
from tests.support.postgres_binaries import server_user
from webapp.extensions import db


def locked(seconds: float) -> Action:
    """Somebody holds a lock that every page needs."""

    def do(it: Injection) -> None:
        it.slow(100)
        it.start()
        it.until_stored()
        with it.parts.connection() as other:
            other.execute("BEGIN" if it.parts.postgres else "BEGIN IMMEDIATE")
            if it.parts.postgres:
                other.execute("LOCK TABLE patients IN ACCESS EXCLUSIVE MODE")
            ended = time.monotonic() + seconds
            while time.monotonic() < ended:
                if it.now_seen and not it.now_seen.running:
                    break
                time.sleep(0.05)
            other.execute("ROLLBACK")

    return do


SQLITE_TRIGGER = """
CREATE TRIGGER fault BEFORE {event} ON patients WHEN {condition}
BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed'); END
"""


POSTGRES_TRIGGER = """
CREATE SEQUENCE IF NOT EXISTS fault_times;
CREATE OR REPLACE FUNCTION fault() RETURNS trigger AS $$
BEGIN
    IF {condition} THEN RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END IF;
    RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER fault BEFORE INSERT OR UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION fault()
"""


@contextmanager
def _trigger(
    it: Injection, *, first_name: str = "", code: str = "23514", times: int = 0
) -> Iterator[None]:
    """The database refuses the rows with a name, or all; on PostgreSQL with any code it has."""
    with it.parts.connection() as other:
        if it.parts.postgres:
            here = f"NEW.organization_id = {it.organization_id}"
            which = f"{here} AND NEW.first_name = '{first_name}'" if first_name else here
            if times:
                which = f"{here} AND nextval('fault_times') <= {times}"
            other.execute(POSTGRES_TRIGGER.format(condition=which, code=code))
        else:
            here = f"NEW.organization_id = {it.organization_id}"
            which = f"{here} AND NEW.first_name = '{first_name}'" if first_name else here
            for number, event in enumerate(("INSERT", "UPDATE")):
                made = SQLITE_TRIGGER.format(event=event, condition=which)
                other.execute(made.replace("TRIGGER fault", f"TRIGGER fault_{number}"))
        try:
            yield
        finally:
            if it.parts.postgres:
                other.execute("DROP TRIGGER fault ON patients")
                other.execute("DROP SEQUENCE IF EXISTS fault_times")
            else:
                other.execute("DROP TRIGGER fault_0")
                other.execute("DROP TRIGGER fault_1")


def refused_record(it: Injection) -> None:
    """The database refuses one record; its page is kept."""
    somebody = it.account.ids(State.ACTIVE)[120]
    it.account.edit(somebody, first_name="Refused")
    with _trigger(it, first_name="Refused"):
        it.start()
        it.until(it.is_over)
    if it.now_seen and it.now_seen.failed != 1:
        it.problems.append(f"{it.now_seen.failed} records failed, not one")
    it.touched.add(somebody)


def refused_pages(it: Injection) -> None:
    """The database refuses everything."""
    for key in it.account.ids(State.ACTIVE):
        it.account.edit(key, email="new@example.com")
    with _trigger(it):
        it.start()
        it.until(it.is_over)


def old_schema(it: Injection) -> None:
    """A column is missing: the migration was not run."""
    with it.parts.connection() as other:
        other.execute("ALTER TABLE patients RENAME COLUMN merged_into TO merged_into_before")
        it.start()
        it.until(it.is_over, 40)
        other.execute("ALTER TABLE patients RENAME COLUMN merged_into_before TO merged_into")


def raised_by_database(code: str, times: int) -> Action:
    """PostgreSQL ends a transaction with this code, so many times."""

    def do(it: Injection) -> None:
        for key in it.account.ids(State.ACTIVE)[::7]:
            it.account.edit(key, first_name="Changed")
        with _trigger(it, code=code, times=times):
            it.start()
            it.until(it.is_over, 90)

    return do


def deadlock(it: Injection) -> None:
    """A real one: two transactions, each with the row that the other needs."""
    it.has_a_copy()
    for key in it.account.ids(State.ACTIVE)[:100]:
        it.account.edit(key, first_name="Changed")
    first, last = it.account.ids(State.ACTIVE)[0], it.account.ids(State.ACTIVE)[99]
    touch = (
        "UPDATE patients SET email = email WHERE organization_id = %s AND cliniko_patient_id = %s"
    )
    with it.parts.connection() as other:
        other.execute("BEGIN")
        other.execute(touch, (it.organization_id, last))
        it.start()
        blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

        def waits() -> bool:
            with it.parts.inside():
                return bool(db.session.scalar(blocked))

        it.until(waits, 20)
        other.execute("SET deadlock_timeout = '20s'")  # so that the sync is the one who is told
        with suppress(psycopg.errors.DeadlockDetected):  # one of the two is told
            other.execute(touch, (it.organization_id, first))
        other.execute("ROLLBACK")


def full_tmpfs(it: Injection) -> None:
    """PostgreSQL's disk is full, as far as the patients' table goes; then there is room again."""
    with _small_disk(it) as folder:
        with open(f"{folder}/filling", "wb", buffering=0) as filling, suppress(OSError):
            while True:
                filling.write(b"x" * 65536)
        _grow(it)
        it.start()
        it.until(it.is_over, 70)


@contextmanager
def _small_disk(it: Injection) -> Iterator[str]:
    """The patients' table lies on a small disk of its own, and goes back from there."""
    folder = tempfile.mkdtemp(prefix="full-", dir="/tmp")
    with it.parts.connection() as other:
        other.execute("VACUUM FULL patients")  # else the room that others have left is enough
        (size,) = other.execute("SELECT pg_table_size('patients')").fetchone()
        room = f"size={2 * size // 1024 + 8 * 1024}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", room, "tmpfs", folder], check=True)
        try:
            shutil.chown(folder, server_user())
            other.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            other.execute("ALTER TABLE patients SET TABLESPACE small")
            yield folder
        finally:
            Path(f"{folder}/filling").unlink(missing_ok=True)
            other.execute("ALTER TABLE patients SET TABLESPACE pg_default")
            other.execute("DROP TABLESPACE small")
            subprocess.run(["umount", folder], check=True)
            os.rmdir(folder)


def _grow(it: Injection) -> None:
    """Many new patients who need much room."""
    long = "n" * 450
    for _ in range(400):
        names = {"first_name": long, "last_name": long, "preferred_first_name": long}
        it.touched.add(it.account.create(**names))


def full_sqlite(how: str) -> Action:
    """SQLite's disk is full, for the work-horse; `how` is an order of the stages."""

    def do(it: Injection) -> None:
        with it.parts.connection() as other:
            other.execute("VACUUM")  # else the room that others have left is enough
        _grow(it)
        it.slow(20)
        it.order("claimed", how)
        it.start()

    return do


def terminated(it: Injection) -> None:
    """PostgreSQL ends our connections, again and again, in the middle of pages and commits."""
    it.slow(60)
    it.start()
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with it.parts.connection() as other:
        for _ in range(6):
            other.execute(end)
            time.sleep(0.1 + it.random.random() * 0.4)


def postgres_away(seconds: float, by: signal.Signals) -> Action:
    """The database server dies and is back after a while."""

    def do(it: Injection) -> None:
        assert it.parts.postgres is not None
        it.slow(100)
        it.start()
        it.until_stored()
        it.parts.postgres.stop(by)
        time.sleep(seconds / 2)
        answer = it.ask("GET", f"/cliniko/sync-logs/{it.organization_id}?limit=1")
        if answer is None or answer.status_code != 503:
            it.problems.append(f"without a database: {answer and answer.status_code}")
        time.sleep(seconds / 2)
        it.parts.postgres.start()

    return do


def connections_used_up(it: Injection) -> None:
    """The database takes no more connections; the sync has its own."""
    it.slow(200)
    it.start()
    it.until_stored()
    url = it.parts.environ["DATABASE_URL"].replace("+psycopg", "")
    held: list[psycopg.Connection[Any]] = []
    with suppress(psycopg.OperationalError):
        while len(held) < 120:
            held.append(psycopg.connect(url))
    begun = time.monotonic()
    answer = it.ask("GET", f"/cliniko/sync-logs/{it.organization_id}?limit=1")
    late = it.too_long(time.monotonic() - begun, 6)
    if answer is None or answer.status_code not in (200, 503) or late:
        it.problems.append(f"without connections: {answer and answer.status_code}")
    for connection in held:
        connection.close()


def all_killed_in_a_write(it: Injection) -> None:
    """Every process dies at once; what was committed is there and the file is whole."""
    it.slow(100)
    it.start()
    it.until_stored()
    it.parts.kill()
    with it.parts.connection() as other:
        whole = other.execute("PRAGMA integrity_check").fetchone()[0]
    if whole != "ok":
        it.problems.append(f"integrity check: {whole}")
    it.parts.start()
    it.hit_at = time.time()
