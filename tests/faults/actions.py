"""What is done in an injection: functions that begin a sync and see to its trouble."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
from cryptography.fernet import Fernet
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import delete, text, update

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.users import KeyState
from tests.faults.injection import Injection, in_transaction, kill
from tests.support.postgres_binaries import server_user
from tests.support.processes import is_alive
from tests.support.tls import bad_server
from webapp.extensions import db
from webapp.models import (
    Organization,
    Patient,
    SyncFailure,
    SyncLog,
    User,
)
from webapp.queue import enqueue_sync
from webapp.services import credentials, organizations
from webapp.sync import recovery

Action = Callable[[Injection], None]

# Of the about twelve requests of a sync: the first, one in the middle, one near the end.
PLACES = {"first": 1, "middle": 6, "last": 10}
LISTS = "/patients*"


def cliniko(kind: str, **options: Any) -> Action:
    """Trouble in Cliniko's answers, at the place of the injection or where `on` says."""

    def do(it: Injection) -> None:
        chosen: dict[str, Any] = dict(options)
        if "on" not in chosen:
            chosen |= {"on": LISTS, "nth": PLACES.get(it.record.at, 1)}
        it.trouble(kind, **chosen)
        it.start()

    return do


def together(*troubles: dict[str, Any]) -> Action:
    """Several kinds of trouble at once."""

    def do(it: Injection) -> None:
        for trouble in troubles:
            it.trouble(**trouble)
        it.start()

    return do


def elsewhere(kind: str, option: str, address: str, **more: Any) -> Action:
    """Cliniko leads somewhere else; nobody may come there."""

    def do(it: Injection) -> None:
        with _listener() as (port, visitors):
            if kind == "foreign_next_link":
                it.trouble("ignore_sort", on=LISTS, times=None)
            address_there = address.format(port=port, home=it.parts.simulator.url)
            it.trouble(kind, on=LISTS, times=None, **{option: address_there}, **more)
            it.start()
            it.until(it.is_over)
            if visitors:
                it.problems.append(f"{len(visitors)} connections to another host")

    return do


def malformed(content: dict[str, Any] | None, *, share: float = 0.0) -> Action:
    """One record is malformed, or a share of all active ones."""

    def do(it: Injection) -> None:
        active = it.account.ids(State.ACTIVE)
        count = max(1, round(len(active) * share))
        for key in it.random.sample(active, count):
            changes = content or {"date_of_birth": "someday"}
            whole = it.account.patient(key).record()
            it.unreadable[key] = {field: whole.get(field) for field in changes}
            it.account.edit(key, **changes)
        it.start()

    return do


def healing(do: Action) -> Action:
    """The records that were malformed are put right when the sync has ended."""

    def both(it: Injection) -> None:
        do(it)
        it.until(it.is_over)
        for key, before in it.unreadable.items():
            it.account.edit(key, **before)
            it.touched.add(key)
        it.unreadable.clear()

    return both


def life(*verbs: str, changes: int = 12) -> Action:
    """Patients change between any two requests."""

    def do(it: Injection) -> None:
        plan = [(it.random.randrange(1, 14), it.random.choice(verbs)) for _ in range(changes)]
        asked = 0
        lock = threading.Lock()

        def before_request(_path: str, _params: object, number: int) -> None:
            nonlocal asked
            seen = it.parts.simulator.requests
            account = next((r.account for r in reversed(seen) if r.number == number), None)
            if account != it.account.id:
                return
            with lock:
                asked += 1
                for _, verb in [each for each in plan if each[0] == asked]:
                    happen(it, verb)

        with _hook(it, before_request):
            it.start()
            it.until(it.is_over, 90)

    return do


def happen(it: Injection, verb: str) -> None:
    """Something happens to a patient at the front, at the back, or anywhere."""
    account = it.account
    if verb == "create":
        it.touched.add(account.create())
        return
    if verb == "create far below":
        lowest = int(account.ids()[0])
        key = str(it.random.randrange(max(2, lowest // 2), lowest))
        it.touched.add(account.create(id=key))
        return
    states = {"unarchive": (State.ARCHIVED,), "delete": (State.ACTIVE, State.ARCHIVED)}
    ids = account.ids(*states.get(verb, (State.ACTIVE,)))
    pick = it.random.choice([0, 1, -1, -2, it.random.randrange(len(ids))])
    chosen = ids[pick]
    it.touched.add(chosen)
    if verb == "merge":
        account.merge(chosen, into=ids[(pick + 1) % len(ids)])
    elif verb == "edit":
        account.edit(chosen, first_name=f"Edited {it.random.random()}")
    else:
        getattr(account, verb)(chosen)


def repeated_record(it: Injection) -> None:
    """A patient stands on two pages, and twice on one with another version."""
    somebody = it.account.ids(State.ACTIVE)[150]
    older = it.account.patient(somebody).record() | {
        "first_name": "Before",
        "updated_at": "2001-01-01T00:00:00Z",
    }
    record = it.account.patient(somebody).record()
    for nth in (1, 2, 3):
        it.trouble("replace_record", on="/patients", nth=nth, record=older, at=0, insert=True)
        it.trouble("replace_record", on="/patients", nth=nth, record=record, at=0, insert=True)
    it.start()


def plain(it: Injection) -> None:
    """Nothing at all; the fault is in the account."""
    it.start()


# Processes


def killed(stage: str, what: str) -> Action:
    """A worker, its work-horse or both die at a stage of the sync."""

    def do(it: Injection) -> None:
        if stage == "waiting for an answer":
            it.slow(1800)
        elif stage == "waiting for the limit":
            it.trouble("rate_limited", on=LISTS, nth=4, reset_in_s=4)
        else:
            it.slow(20)
        nth = {"asking": 5, "mid-body": 4, "parsed": 3, "stored, not committed": 3, "committed": 3}
        it.order(stage, what, nth.get(stage, 1))
        it.start()
        met = it.until_met(stage)
        if met is not None:
            it.hit_at = met["time"]
            it.until(lambda: not is_alive(met["pid"]), 25)

    return do


def killed_at_random(it: Injection) -> None:
    """Worker, work-horse or both die at a moment that nobody has chosen."""
    it.slow(150)
    it.start()
    pids = it.working()
    time.sleep(it.random.random() * 1.5)
    chosen = it.random.choice([("pid",), ("parent",), ("pid", "parent")])
    it.hit_at = time.time() if it.now_seen and it.now_seen.running else None
    for which in chosen:
        kill(pids[which], signal.SIGKILL)


def web_killed(stage: str) -> Action:
    """The web process dies around the answer to the button."""

    def do(it: Injection) -> None:
        it.order(stage, "kill")
        it.slow(20)
        if it.start() is not None:
            it.problems.append("an answer came from a dead process")
        again = it.ask("POST", f"/cliniko/sync-all/{it.organization_id}")
        if again is None or again.status_code not in (429, 503):
            it.problems.append(f"asked again: {again and again.status_code}")
            return
        named = again.json()["details"].get("sync_log_id", it.sync_id)
        if named != it.sync_id:
            it.problems.append("asked again, another sync is named")

    return do


def zombie(it: Injection) -> None:
    """A work-horse is stopped, replaced, and goes on when the other has finished."""
    # Within its transaction it would hold SQLite's one lock, and a stopped process gives none up.
    stage = "parsed" if it.parts.database == "sqlite" else "stored, not committed"
    it.slow(100)
    it.order(stage, "stop", 3)
    it.start()
    met = it.until_met(stage)
    if met is None:
        return
    it.hit_at = met["time"]
    it.until(it.is_over, 90)
    before = it.ours()
    kill(met["pid"], signal.SIGCONT)
    it.until(lambda: not is_alive(met["pid"]), 60)
    if it.ours() != before:
        it.problems.append("the replaced worker has written")


def told_to_end(it: Injection) -> None:
    """A deploy: the worker is told to end, and the sync goes on with another."""
    it.slow(300)
    it.start()
    it.until_stored()
    pids = it.working()
    kill(pids["parent"], signal.SIGTERM)
    it.hit_at = time.time()
    it.until(lambda: not is_alive(pids["parent"]), 20)


def poison(it: Injection) -> None:
    """The work-horse dies at every attempt."""
    it.slow(50)
    for _ in range(3):
        it.order("parsed", "kill", 1)
        if it.sync_id is None:
            it.start()
        if it.until_met("parsed") is None:
            return
        (it.parts.stages / f"{it.organization_id}.parsed.met").unlink()


def ordered(stage: str, what: str) -> Action:
    """Something else than death at a stage."""

    def do(it: Injection) -> None:
        it.slow(20)
        it.order(stage, what)
        it.start()

    return do


def no_worker(it: Injection) -> None:
    """Nobody is there to begin; then a worker comes."""
    it.parts.stop_workers()
    it.start()
    it.until(lambda: it.parts.workers_alive() == 0, 40)
    it.until(lambda: it.says_on_its_page("No worker is connected"), 45)
    if it.now_seen and it.now_seen.phase != "queued":
        it.problems.append(f"without a worker the phase is {it.now_seen.phase}")
    it.parts.start_workers()


def no_worker_for_long(it: Injection) -> None:
    """Nobody ever begins."""
    it.parts.stop_workers()
    it.start()
    it.until(it.is_over, 340)
    it.parts.start_workers()
    it.parts.wait_until_ready()


def last_worker_dies(it: Injection) -> None:
    """The only worker dies and none comes back: the sync must not look alive."""
    it.slow(400)
    it.start()
    it.until_stored()
    it.parts.kill_workers()
    died = time.time()
    it.until(it.is_over, 70)
    if time.time() - died > 60:
        it.record.stuck = 1
        it.problems.append("shown as running for more than 60 s after the last worker died")
    it.parts.start_workers()
    it.parts.wait_until_ready()


def everything_killed(it: Injection) -> None:
    """All processes die at once, Redis included, and come back in another order."""
    it.slow(300)
    it.start()
    it.until_stored()
    it.parts.redis.stop(signal.SIGKILL)
    it.parts.kill()
    back = [it.parts.redis.start, it.parts.start]
    back[0]()
    back[1]()
    it.hit_at = time.time()  # from when all that is needed is there again


# Databases


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
    if not it.before:
        it.run_sync()
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
        try:
            other.execute(touch, (it.organization_id, first))
        except Exception as error:
            it.record.name += f" (the other was told: {type(error).__name__})"
        other.execute("ROLLBACK")


def full_tmpfs(it: Injection) -> None:
    """PostgreSQL's disk is full, as far as its tables go; then there is room again."""
    folder = tempfile.mkdtemp(prefix="full-", dir="/tmp")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    shutil.chown(folder, server_user())
    with it.parts.connection() as other:
        other.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        other.execute("ALTER TABLE patients SET TABLESPACE small")
        other.execute("CREATE TABLE filler (text text) TABLESPACE small")
        with open(f"{folder}/filling", "wb", buffering=0) as filling, suppress(OSError):
            while True:
                filling.write(b"x" * 65536)
        for _ in range(300):
            it.touched.add(it.account.create(last_name="n" * 400))
        it.start()
        it.until(it.is_over, 70)
        os.unlink(f"{folder}/filling")
        other.execute("ALTER TABLE patients SET TABLESPACE pg_default")
        other.execute("DROP TABLE filler")
        other.execute("DROP TABLESPACE small")
    subprocess.run(["umount", folder], check=True)
    os.rmdir(folder)


def full_sqlite(it: Injection) -> None:
    """SQLite's disk is full, for the work-horse."""
    for _ in range(300):
        it.touched.add(it.account.create(last_name="n" * 400))
    it.slow(20)
    it.order("claimed", "fill the disk")
    it.start()


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
    if answer is None or answer.status_code not in (200, 503) or time.monotonic() - begun > 6:
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


# Redis


def redis_away_at_start(it: Injection) -> None:
    """Redis is down when the button is pressed."""
    it.parts.redis.stop(signal.SIGKILL)
    _refused_start(it)
    it.parts.redis.start()
    it.parts.wait_until_ready()


def redis_refuses(*commands: tuple[str, ...], back: tuple[str, ...]) -> Action:
    """Redis answers, but takes nothing."""

    def do(it: Injection) -> None:
        redis = it.parts.talk_to_redis()
        for command in commands:
            redis.execute_command(*command)  # type: ignore[no-untyped-call]
        _refused_start(it)
        redis.execute_command(*back)  # type: ignore[no-untyped-call]
        it.parts.wait_until_ready()

    return do


def _refused_start(it: Injection) -> None:
    begun = time.monotonic()
    answer = it.start()
    took = time.monotonic() - begun
    if answer is None or answer.status_code != 503:
        it.problems.append(f"the start was answered {answer and answer.status_code}")
    elif answer.json()["error_code"] != "QUEUE_UNAVAILABLE" or "Retry-After" not in answer.headers:
        it.problems.append(f"the start was refused with {answer.text[:200]}")
    if took > 2.5:
        it.problems.append(f"the refusal took {took:.1f} s")


def redis_hangs(seconds: float) -> Action:
    """Redis takes connections and says nothing for a while."""

    def do(it: Injection) -> None:
        it.slow(100)
        it.parts.redis.send(signal.SIGSTOP)
        begun = time.monotonic()
        answer = it.ask("POST", f"/cliniko/sync-all/{it.organization_id}")
        took = time.monotonic() - begun
        if answer is None or answer.status_code != 503 or took > 4:
            it.problems.append(f"the start: {answer and answer.status_code} after {took:.1f} s")
        time.sleep(max(0.0, seconds - took))
        it.parts.redis.send(signal.SIGCONT)
        it.start()

    return do


def redis_away_in_the_middle(seconds: float) -> Action:
    """Redis dies while a sync runs, and is back later."""

    def do(it: Injection) -> None:
        it.slow(250)
        it.start()
        it.until_stored()
        it.parts.redis.stop(signal.SIGKILL)
        time.sleep(seconds)
        it.parts.redis.start()
        it.until(lambda: it.parts.workers_alive() >= 2, 20)

    return do


def redis_forgets(how: str) -> Action:
    """All that waits in the queue is forgotten."""

    def do(it: Injection) -> None:
        it.parts.stop_workers()
        it.start()
        if how == "flush":
            it.parts.talk_to_redis().flushall()
        else:
            it.parts.redis.stop(signal.SIGKILL)
            it.parts.redis.forget()
            it.parts.redis.start()
        it.parts.start_workers()
        it.parts.wait_until_ready()

    return do


def redis_dies_at_enqueue(it: Injection) -> None:
    """The row is there, the word to the workers is lost with the web process."""
    it.order("row committed", "kill")
    it.start()
    it.parts.redis.stop(signal.SIGKILL)
    it.parts.redis.start()


def delivered_twice(it: Injection) -> None:
    """The same job, and one of an earlier attempt, come again."""
    it.slow(150)
    it.start()
    it.until_stored()
    assert it.sync_id is not None
    sync_id = it.sync_id
    with it.parts.inside():
        for attempt in (1, 1, 0):
            enqueue_sync(sync_id, attempt)
    it.until(it.is_over)
    with it.parts.inside():
        enqueue_sync(sync_id, 1)


def foreign_job(it: Injection) -> None:
    """Somebody who can write to Redis wants something else done."""
    witness = it.parts.folder / f"witness-{it.organization_id}"
    redis = it.parts.talk_to_redis()
    job = Queue("sync", connection=redis, serializer=JSONSerializer).enqueue(
        "os.system", f"touch {witness}"
    )
    it.start()
    it.until(lambda: not redis.exists(job.key))
    if witness.exists():
        it.problems.append("the foreign job was done")


# Concurrency, time, change


def pressed_often(it: Injection) -> None:
    """Fifty at once: the button, the API, the former address."""
    it.slow(100)
    paths = (f"/cliniko/sync-all/{it.organization_id}", f"/cliniko/sync/{it.organization_id}")
    with ThreadPoolExecutor(50) as fifty:
        answers = list(fifty.map(lambda n: it.ask("POST", paths[n % 2]), range(50)))
    it.sync_id = it._newest_id()
    it.watch()
    codes = [answer.status_code if answer is not None else 0 for answer in answers]
    bodies = [answer.json() for answer in answers if answer is not None and answer.ok]
    if codes.count(200) != 1 or codes.count(429) != 49:
        it.problems.append(f"fifty starts were answered {sorted(codes)}")
    elif bodies[0]["sync_log_id"] != it.sync_id:
        it.problems.append("the answer names another sync")


def twenty_clinics(it: Injection) -> None:
    """Twenty clinics at once, one of them at a very slow Cliniko."""
    others = [
        Injection(it.parts, it.record, with_copy=False, active=90, archived=5) for _ in range(19)
    ]
    it.slow(1500)
    it.start()
    for other in others:
        other.start()
    for other in others:
        other.ends("completed", within=90)
        other._compare(completed=True)
    it.record.seen = ""


def clocks_apart(it: Injection) -> None:
    """The workers' clocks are ten minutes off, one way or the other."""
    skew = it.random.choice(["600", "-600"])
    it.parts.stop_workers()
    it.parts.set(SKEW_SECONDS=skew)
    it.parts.start_workers(wait=False)
    it.slow(400)
    it.start()
    it.until(it.is_over, 60)
    if it.now_seen and it.now_seen.attempt != 1:
        it.problems.append("taken over though nobody was lost")
    it.parts.stop_workers()
    it.parts.set(SKEW_SECONDS="0")
    it.parts.start_workers()


def key_replaced(it: Injection) -> None:
    """Another key of the same account is entered, and the old one revoked at that moment."""
    it.slow(250)
    it.start()
    it.until_stored()
    new = it.key.replace("invented-", "replaced-")
    (user,) = it.account.users
    user.keys[new] = KeyState.OK
    with it.parts.inside():
        organization = db.session.get_one(Organization, it.organization_id)
        organizations.replace_key(organization, new)
    user.keys[it.key] = KeyState.REVOKED


def key_of_another_account(it: Injection) -> None:
    """The key of another account is put in its place; nobody of there may come here."""
    it.slow(250)
    stranger = ClinikoAccount.generate(account_id=f"9{it.account.id}", seed=99, active=50)
    key = it.key.replace("invented-", "stranger-")
    stranger.add_key(key)
    it.parts.simulator.accounts = (*it.parts.simulator.accounts, stranger)

    def put(api_key: str) -> None:
        organization = db.session.get_one(Organization, it.organization_id)
        organization.encrypted_api_key = credentials.encrypt(organization.id, api_key)

    if it.record.at == "first":
        in_transaction(it, partial(put, key))
        it.start()
    else:
        it.start()
        it.until_stored()
        in_transaction(it, partial(put, key))
        next(iter(it.account.users)).keys[it.key] = KeyState.REVOKED
    it.until(it.is_over)
    next(iter(it.account.users)).keys[it.key] = KeyState.OK
    in_transaction(it, partial(put, it.key))


def keys_rotated(it: Injection) -> None:
    """The keys that protect the clinics' keys are rotated; then the old one goes too early."""
    old = ",".join(it.parts.settings.credentials_keys)
    new = Fernet.generate_key().decode()
    it.parts.stop()
    it.parts.set(CREDENTIALS_KEYS=f"{new},{old}")
    it.parts.start()
    look = it.run_sync()
    if look is None or look.outcome != "completed":
        it.problems.append(f"with both keys: {look and look.outcome}")
    it.parts.stop()
    it.parts.set(CREDENTIALS_KEYS=new)
    it.parts.start()
    it.start()
    it.until(it.is_over)
    it.parts.stop()
    it.parts.set(CREDENTIALS_KEYS=old)
    it.parts.start()


def clinic_deleted(it: Injection) -> None:
    """The clinic goes, by SQL, while its sync runs: nobody of it comes back."""
    it.slow(250)
    it.start()
    it.until_stored()
    it.may_answer |= {404}
    here = it.organization_id

    def remove() -> None:
        logs = db.select(SyncLog.id).where(SyncLog.organization_id == here)
        db.session.execute(delete(SyncFailure).where(SyncFailure.sync_log_id.in_(logs)))
        db.session.execute(delete(Patient).where(Patient.organization_id == here))
        db.session.execute(delete(SyncLog).where(SyncLog.organization_id == here))
        db.session.execute(delete(Organization).where(Organization.id == here))

    in_transaction(it, remove)
    pid = it.working()["pid"]
    begun = time.monotonic()
    it.until(lambda: not is_alive(pid), 30)
    it.record.seconds = round(time.monotonic() - begun, 2)
    with it.parts.inside():
        left = db.session.scalar(
            db.select(db.func.count()).select_from(Patient).where(Patient.organization_id == here)
        )
    if left:
        it.problems.append(f"{left} patients came back")
    it.record.seen = "gone"


def starter_disabled(it: Injection) -> None:
    """Whoever started the sync may no longer sign in; the sync goes on."""

    def let_in(active: bool) -> None:
        person = update(User).where(User.id == it.admin_id)
        in_transaction(it, lambda: db.session.execute(person.values(active=active)))

    it.slow(200)
    it.start()
    it.until_stored()
    it.may_answer |= {401}
    let_in(False)
    it.until(it.is_over)
    let_in(True)


def migrated_meanwhile(it: Injection) -> None:
    """The newest migration is taken back and applied again while a sync runs."""
    it.slow(300)
    it.start()
    it.until_stored()
    it.parts.flask("db", "downgrade", "-1")
    it.parts.flask("db", "upgrade")


def cancelled(where: str) -> Action:
    """Cancelled while pages come, in a wait, or in the queue."""

    def do(it: Injection) -> None:
        if where == "waiting":
            it.trouble("rate_limited", on=LISTS, nth=4, reset_in_s=60)
        else:
            it.slow(400)
        it.start()
        if where == "waiting":
            it.until(lambda: it.now_seen is not None and it.now_seen.phase == "waiting", 30)
        else:
            it.until_stored()
        answer = it.ask("POST", f"/cliniko/cancel/{it.organization_id}")
        if answer is None or answer.status_code not in (200, 202):
            it.problems.append(f"cancelling was answered {answer and answer.status_code}")
        begun = time.monotonic()
        it.until(it.is_over, 30)
        took = time.monotonic() - begun
        if took > 5:
            it.problems.append(f"stopped {took:.1f} s after it was cancelled")

    return do


def two_reapers(it: Injection) -> None:
    """The worker dies, and many look for its sync at the same moment."""
    it.slow(300)
    it.start()
    it.until_stored()
    pids = it.working()
    kill(pids["parent"], signal.SIGKILL)
    kill(pids["pid"], signal.SIGKILL)
    it.hit_at = time.time()

    def look() -> None:
        with it.parts.inside():
            while it.now_seen and it.now_seen.attempt == 1 and it.now_seen.running:
                recovery.recover_stale_syncs()
                time.sleep(0.01)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join(60)
    if it.now_seen and it.now_seen.attempt > 2:
        it.problems.append("taken over more than once")


def reaper_killed(it: Injection) -> None:
    """The worker dies; the one that hands its sync over dies between its two steps."""
    it.slow(300)
    it.order("handing over", "kill")
    it.start()
    it.until_stored()
    pids = it.working()
    kill(pids["parent"], signal.SIGKILL)
    kill(pids["pid"], signal.SIGKILL)
    met = it.until_met("handing over")
    it.hit_at = met["time"] if met else None


# Networks


def no_such_host(it: Injection) -> None:
    """Cliniko's name leads nowhere."""
    _with_cliniko_at(it, "http://cliniko.invalid/v1")


def insecure(which: str) -> Action:
    """Cliniko's certificate is no good, or its TLS too old: nothing may be said to it."""

    def do(it: Injection) -> None:
        with bad_server(which) as (port, requests_seen):
            _with_cliniko_at(it, f"https://localhost:{port}/v1")
            if requests_seen:
                it.problems.append("a request went out over an insecure connection")

    return do


def _with_cliniko_at(it: Injection, url: str) -> None:
    it.parts.stop()
    it.parts.set(CLINIKO_API_URL=url)
    it.parts.start()
    it.start()
    it.until(it.is_over, 100)
    it.parts.stop()
    it.parts.set(CLINIKO_API_URL=it.parts.simulator.url)
    it.parts.start()


def cliniko_closed(it: Injection) -> None:
    """Nobody listens at Cliniko's address for some seconds."""
    it.slow(100)
    it.start()
    it.until_stored()
    it.parts.simulator.stop()
    time.sleep(3)
    it.parts.simulator.start()


def outage(it: Injection) -> None:
    """Cliniko is down as a whole from the middle on; afterwards it is back."""
    it.trouble("status", status=503, on="*", nth=6, times=None)
    it.start()


@contextmanager
def _listener() -> Iterator[tuple[int, list[object]]]:
    """A port where nobody may come, and who came."""
    visitors: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        leaving = threading.Event()

        def take() -> None:
            while not leaving.is_set():
                try:
                    connection, address = server.accept()
                except (TimeoutError, OSError):
                    continue
                visitors.append(address)
                connection.close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1], visitors
        leaving.set()
        thread.join()


_hooks: dict[int, Callable[[str, object, int], None]] = {}


@contextmanager
def _hook(it: Injection, do: Callable[[str, Any, int], None]) -> Iterator[None]:
    """Called before each request; several clinics may have one at a time."""
    _hooks[it.organization_id] = do

    def all_of_them(path: str, params: object, number: int) -> None:
        for each in list(_hooks.values()):
            each(path, params, number)

    it.parts.simulator.before_request = all_of_them
    try:
        yield
    finally:
        del _hooks[it.organization_id]
