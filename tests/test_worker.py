"""Real workers, real forks, real kills: a sync outlives whoever works on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
from flask import Flask
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from rq import Callback, Queue
from rq.serializers import JSONSerializer
from sqlalchemy import select

from config import Settings
from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.api.rows import make_log
from tests.cast import Cast
from tests.support.databases import on_both
from tests.support.processes import descendants, is_alive, wait_until
from tests.sync.copies import copy_of, truth_of
from webapp import create_core, queue
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import OperationType, Schedule, SyncLog, SyncOrigin, SyncStatus
from webapp.services import organizations, schedules
from webapp.sync import history
from webapp.sync.start import start_sync
from webapp.worker import SyncWorker

DUE_CLINICS = 8
ROOT = Path(__file__).resolve().parent.parent

# Told to end while SQLAlchemy puts a connection back: it lets no exception out of there.
TOLD_AT_A_BAD_MOMENT = """
import os, signal
from sqlalchemy import event
from webapp import create_core, worker
from webapp.extensions import db

def tell(*_):
    event.remove(db.engine, "reset", tell)
    os.kill(os.getpid(), signal.SIGTERM)

app = create_core()
with app.app_context():
    event.listen(db.engine, "reset", tell)
    worker.start(app)
"""

Worker = subprocess.Popen[bytes]
Hire = Callable[..., Worker]


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    return create_core


@pytest.fixture
def hire(app: Flask, environment: dict[str, str]) -> Iterator[Hire]:
    """Starts workers as an operator would; whoever is left at the end is killed."""
    workers: list[Worker] = []

    def hire(*, heard_of: bool = True) -> Worker:
        alive = queue.workers_connected() or 0
        worker = subprocess.Popen(
            [sys.executable, "worker.py"], cwd=ROOT, env=os.environ | environment
        )
        workers.append(worker)
        if heard_of:
            wait_until(lambda: (queue.workers_connected() or 0) > alive)
        return worker

    yield hire
    for worker in workers:
        for pid in [*descendants(worker.pid), worker.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.wait()


@pytest.fixture
def start(cast: Cast) -> Callable[[], int]:
    def start() -> int:
        return start_sync(
            cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND
        ).id

    return start


def row(sync_log_id: int) -> SyncLog:
    db.session.rollback()
    return db.session.get_one(SyncLog, sync_log_id)


def ended(sync_log_id: int) -> Callable[[], bool]:
    return lambda: row(sync_log_id).status != SyncStatus.RUNNING


def work_horse_of(worker: Worker) -> int:
    wait_until(lambda: bool(descendants(worker.pid)))
    return next(iter(descendants(worker.pid)))


def left_alone_for(sync_log_id: int, *, seconds: int) -> None:
    """As if so much time had passed since its worker wrote for the last time."""
    log = row(sync_log_id)
    assert log.lease_expires_at is not None
    with transaction():
        log.lease_expires_at -= timedelta(seconds=seconds)


def stored_something(sync_log_id: int) -> Callable[[], bool]:
    return lambda: row(sync_log_id).records_success > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_where_it_may_keep_modules_it_keeps_no_docstrings(
    hire: Hire, environment: dict[str, str]
) -> None:
    """Nor, in either case, the tables by which requests guesses how a text is written."""
    environment["PYTHONDONTWRITEBYTECODE"] = ""
    worker = hire()
    words = Path(f"/proc/{worker.pid}/cmdline").read_bytes().split(b"\0")
    assert words[1:-1] == [b"-OO", b"worker.py"]
    mapped = Path(f"/proc/{worker.pid}/maps").read_text()
    assert "charset_normalizer" not in mapped


@pytest.mark.parametrize("words", [["--delivr"], ["--deliv"], ["deliver"]])
def test_an_argument_that_is_not_known_is_refused(
    words: list[str], environment: dict[str, str]
) -> None:
    command = [sys.executable, "worker.py", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert f"unrecognized arguments: {words[0]}" in done.stderr


@on_both
def test_a_worker_brings_the_clinic_in_step(
    hire: Hire, start: Callable[[], int], cast: Cast, surf_account: ClinikoAccount
) -> None:
    hire()
    log_id = start()

    wait_until(ended(log_id))

    log = row(log_id)
    assert (log.status, log.records_success, log.attempt) == ("completed", 648, 1)
    assert copy_of(cast.surf) == truth_of(surf_account)


def test_a_job_that_is_done_leaves_nothing_in_the_queue(
    hire: Hire, start: Callable[[], int]
) -> None:
    redis = queue.redis_connection()
    hire()
    wait_until(ended(start()))
    patterns = ("rq:job:*", "rq:results:*", "rq:finished:*", "rq:wip:*")
    wait_until(lambda: not any(key for each in patterns for key in redis.scan_iter(each)))


def test_a_killed_work_horse_is_replaced_at_once(
    hire: Hire, start: Callable[[], int], cast: Cast, cliniko: Simulator
) -> None:
    cliniko.latency_ms = 400
    worker = hire()
    log_id = start()
    wait_until(stored_something(log_id))

    os.kill(work_horse_of(worker), signal.SIGKILL)
    wait_until(ended(log_id), seconds=60)

    log = row(log_id)
    assert (log.status, log.attempt, log.interruptions) == ("completed", 2, 1)
    assert copy_of(cast.surf) == truth_of(cliniko.accounts[0])


@pytest.mark.parametrize(
    ("database", "whom"),
    [("sqlite", "worker and work-horse"), ("postgresql", "the worker alone")],
)
def test_a_killed_worker_is_taken_over_by_another(
    whom: str, hire: Hire, start: Callable[[], int], cast: Cast, cliniko: Simulator
) -> None:
    cliniko.latency_ms = 400
    workers = [hire(), hire()]
    log_id = start()
    wait_until(stored_something(log_id))
    worker = next(each for each in workers if descendants(each.pid))
    work_horse = work_horse_of(worker)

    if whom == "worker and work-horse":
        os.kill(work_horse, signal.SIGKILL)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not is_alive(work_horse))
    if whom == "worker and work-horse":  # the other one waits as long as it takes
        left_alone_for(log_id, seconds=15)
    wait_until(ended(log_id), seconds=60)

    log = row(log_id)
    assert (log.status, log.attempt) == ("completed", 2)
    assert copy_of(cast.surf) == truth_of(cliniko.accounts[0])


def test_a_worker_that_is_told_to_end_lets_another_go_on(
    hire: Hire, start: Callable[[], int], cast: Cast, cliniko: Simulator
) -> None:
    cliniko.latency_ms = 400
    worker = hire()
    log_id = start()
    wait_until(stored_something(log_id))

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=10) == 0
    log = row(log_id)
    assert (log.status, log.interruptions) == ("running", 0)
    hire()
    wait_until(ended(log_id))

    assert row(log_id).status == "completed"
    assert copy_of(cast.surf) == truth_of(cliniko.accounts[0])


def test_a_work_horse_that_is_told_to_end_hands_its_sync_over(
    hire: Hire, start: Callable[[], int], cliniko: Simulator
) -> None:
    """As a service manager does that tells all processes at once."""
    cliniko.latency_ms = 400
    worker = hire()
    log_id = start()
    wait_until(stored_something(log_id))

    os.kill(work_horse_of(worker), signal.SIGTERM)
    wait_until(lambda: row(log_id).attempt == 2)
    wait_until(ended(log_id), seconds=60)

    log = row(log_id)
    assert (log.status, log.interruptions) == ("completed", 0)


def test_a_worker_that_is_told_to_end_at_a_bad_moment_ends(
    app: Flask, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-c", TOLD_AT_A_BAD_MOMENT]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | environment) as worker:
        try:
            assert worker.wait(30) == 0
        finally:
            worker.kill()


def test_a_sync_that_kills_its_worker_each_time_is_given_up(
    hire: Hire, start: Callable[[], int], cliniko: Simulator
) -> None:
    cliniko.latency_ms = 400
    worker = hire()
    log_id = start()
    for attempt in (1, 2, 3):
        wait_until(partial(_works_on, log_id, attempt))
        os.kill(work_horse_of(worker), signal.SIGKILL)

    wait_until(ended(log_id), seconds=60)

    log = row(log_id)
    assert (log.status, log.error_code, log.attempt) == ("failed", "SYNC_INTERRUPTED", 3)


def test_without_any_worker_left_the_sync_is_shown_as_failed_within_a_minute(
    hire: Hire, start: Callable[[], int], cast: Cast, cliniko: Simulator
) -> None:
    cliniko.latency_ms = 400
    worker = hire()
    log_id = start()
    wait_until(stored_something(log_id))

    work_horse = work_horse_of(worker)
    worker.kill()
    worker.wait()
    wait_until(lambda: not is_alive(work_horse))
    left_alone_for(log_id, seconds=40)

    def shown() -> str:
        db.session.rollback()
        return history.get(cast.surf, log_id).status

    wait_until(lambda: shown() == "failed", seconds=20)
    assert row(log_id).error_code == "SYNC_INTERRUPTED"


def test_a_job_that_is_not_ours_is_refused(hire: Hire, redis_url: str, tmp_path: Path) -> None:
    hire()
    witness = tmp_path / "run"
    foreign = Queue(
        queue.SYNC_QUEUE, connection=Redis.from_url(redis_url), serializer=JSONSerializer
    )

    job = foreign.enqueue("os.system", f"touch {witness}")
    wait_until(lambda: not Redis.from_url(redis_url).exists(job.key))

    assert not witness.exists()


def test_a_sync_that_redis_has_forgotten_is_queued_again(
    hire: Hire, start: Callable[[], int], redis_url: str
) -> None:
    log_id = start()
    Redis.from_url(redis_url).flushdb()
    hire()

    wait_until(ended(log_id), seconds=60)

    assert row(log_id).status == "completed"


def leave_a_mark(_job: object, connection: Redis, *_: object) -> None:
    connection.set("mark", "left")


def test_what_a_job_wants_done_beside_its_function_is_not_done(hire: Hire, redis_url: str) -> None:
    hire()
    connection = Redis.from_url(redis_url)
    callback = Callback(f"{__name__}.{leave_a_mark.__name__}")
    ours = Queue(queue.SYNC_QUEUE, connection=connection, serializer=JSONSerializer)

    job = ours.enqueue(queue.RUN_SYNC, 0, 0, on_success=callback, on_failure=callback, result_ttl=0)
    wait_until(lambda: not connection.exists(job.key))

    assert not connection.exists("mark")


def test_a_job_of_another_program_is_refused_however_it_is_written(
    hire: Hire, redis_url: str
) -> None:
    worker = hire()
    job = Queue(queue.SYNC_QUEUE, connection=Redis.from_url(redis_url)).enqueue("os.getcwd")
    wait_until(lambda: not Redis.from_url(redis_url).exists(job.key))
    assert worker.poll() is None


def test_workers_are_known_again_after_redis_has_lost_its_data(
    hire: Hire, app: Flask, redis_url: str
) -> None:
    hire()
    Redis.from_url(redis_url).flushdb()
    wait_until(lambda: queue.workers_connected() == 1)


@on_both
def test_three_workers_sync_each_clinic_that_is_due_once(
    hire: Hire, cast: Cast, cliniko: Simulator
) -> None:
    due = [clinic_that_is_due(cliniko, number) for number in range(DUE_CLINICS)]
    for _ in range(3):
        hire()

    def all_done() -> bool:
        db.session.rollback()
        return len(list(db.session.scalars(completed))) == DUE_CLINICS

    completed = select(SyncLog.id).where(SyncLog.status == SyncStatus.COMPLETED)
    wait_until(all_done, seconds=120)

    logs = list(db.session.scalars(select(SyncLog)))
    assert sorted(log.organization_id for log in logs) == due
    assert {(log.origin, log.records_success) for log in logs} == {("schedule", 3)}


def clinic_that_is_due(cliniko: Simulator, number: int) -> int:
    """A new clinic of three patients whose last night is due, and the next half a day away; its
    id."""
    nobody = {"archived": 0, "merged": 0, "deleted": 0}
    account = ClinikoAccount.generate(
        name=f"Clinic {number}", account_id=f"{2000 + number}", seed=number, active=3, **nobody
    )
    key = f"invented-key-{number}-au1"
    account.add_key(key)
    cliniko.accounts = (*cliniko.accounts, account)
    clinic = organizations.add(account.name, key)
    night = (now() - timedelta(hours=12)).time().replace(second=0, microsecond=0)
    schedules.save(clinic, changes_every=None, full_at=night, time_zone="UTC", actor=None)
    with transaction() as session:
        session.get_one(Schedule, clinic.id).next_full_at = now() - timedelta(minutes=1)
    return clinic.id


def _works_on(sync_log_id: int, attempt: int) -> bool:
    log = row(sync_log_id)
    return log.attempt == attempt and log.worker is not None


@pytest.mark.parametrize(
    "error",
    [
        RedisConnectionError("away for more than a minute"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ReadOnlyError("You can't write against a read only replica."),
        ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_redis_that_stays_away_or_refuses_does_not_end_a_running_sync(
    error: RedisError, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = SyncWorker(app)
    away = Mock(side_effect=error)
    monkeypatch.setattr("rq.Worker.maintain_heartbeats", away)

    worker.maintain_heartbeats(Mock(), Mock())

    away.assert_called_once()


@pytest.mark.parametrize("at", ["rq.Worker.heartbeat", "webapp.worker.note_worker"])
def test_a_worker_looks_for_lost_and_due_syncs_while_redis_refuses(
    at: str, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = SyncWorker(app)
    monkeypatch.setattr(at, Mock(side_effect=OutOfMemoryError("full")))
    looks = Mock(return_value=[])
    monkeypatch.setattr("webapp.sync.recovery.recover_stale_syncs", looks)
    monkeypatch.setattr("webapp.sync.schedule.start_due_syncs", looks)
    monkeypatch.setattr("webapp.services.retention.remove_a_little", looks)

    worker.heartbeat()

    assert looks.call_count == 3


def test_a_sync_and_its_worker_outlive_a_redis_that_is_full(
    hire: Hire, start: Callable[[], int], cliniko: Simulator
) -> None:
    cliniko.latency_ms = 400
    worker, redis = hire(), queue.redis_connection()
    log_id = start()
    wait_until(stored_something(log_id))

    redis.config_set("maxmemory", 1)
    try:
        wait_until(ended(log_id), seconds=60)
        wait_until(lambda: not descendants(worker.pid))
    finally:
        redis.config_set("maxmemory", 0)
    another = start()
    wait_until(ended(another), seconds=60)

    assert worker.poll() is None
    assert [(row(each).status, row(each).attempt) for each in (log_id, another)] == [
        ("completed", 1),
        ("completed", 1),
    ]


@pytest.fixture
def fill(app: Flask) -> Iterator[Callable[[bool], None]]:
    """Makes Redis full, or gives it room again, which it has at the end in any case."""
    redis = queue.redis_connection()

    def fill(full: bool) -> None:
        redis.config_set("maxmemory", int(full))

    yield fill
    fill(False)


def a_lost_sync(cast: Cast) -> int:
    """One that nobody may take over any more: the next look closes it. Its id."""
    gone = {"worker": "gone", "lease_expires_at": now() - timedelta(minutes=2)}
    return make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), **gone).id


def test_a_worker_that_starts_while_redis_is_full_works_once_there_is_room(
    hire: Hire, start: Callable[[], int], cast: Cast, fill: Callable[[bool], None]
) -> None:
    fill(True)
    worker, lost = hire(heard_of=False), a_lost_sync(cast)
    wait_until(ended(lost), seconds=60)
    fill(False)
    log_id = start()

    wait_until(ended(log_id), seconds=60)

    assert row(log_id).status == "completed"
    assert worker.poll() is None


@pytest.mark.parametrize("full_before", [True, False])
def test_an_idle_worker_looks_again_and_again_while_redis_is_full_and_ends_when_told(
    full_before: bool, hire: Hire, cast: Cast, fill: Callable[[bool], None]
) -> None:
    fill(full_before)
    worker = hire(heard_of=not full_before)
    fill(True)
    for _ in range(3):
        wait_until(ended(a_lost_sync(cast)), seconds=60)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=20) == 0
