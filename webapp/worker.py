"""The RQ worker of this system: an application context for each job, and a quick eye for the dead
and for what is due.

RQ alone notices a lost worker after 800 seconds and does not run its job again. Here the database
holds a lease on every running sync, and every worker looks for leases that have run out: between
jobs, and beside a running one. At the same look it starts the syncs that are due by a schedule.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import structlog
from flask import Flask
from redis.exceptions import RedisError, ResponseError
from rq import Queue, Worker, worker_registration
from rq.exceptions import DeserializationError, StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy.exc import SQLAlchemyError

import webapp.jobs  # noqa: F401  (loaded before the fork, so that no work-horse has to)
from webapp.errors import AppError
from webapp.extensions import db
from webapp.queue import RUN_SYNC, SYNC_QUEUE, note_worker, worker_connection
from webapp.services import audit, retention
from webapp.services.audit import Result
from webapp.services.audit_events import Event
from webapp.sync import engine, lease, recovery, schedule
from webapp.work_horse import PlainJob, die_with_parent, make_ready, use_memory_sparingly

log = structlog.get_logger()

LOOK_EVERY_SECONDS = 5
_ASK_AGAIN_SECONDS = 2  # a Redis that refuses
_LONGEST_NAME = 100  # of a function that a stranger has put into the queue

ALLOWED_JOBS = frozenset({RUN_SYNC})


class SyncWorker(Worker):
    """Runs our own jobs only, ends its work-horse with itself, and takes over lost syncs."""

    def __init__(self, app: Flask) -> None:
        connection = worker_connection(app.config["REDIS_URL"])
        super().__init__(
            [
                Queue(
                    SYNC_QUEUE, connection=connection, job_class=PlainJob, serializer=JSONSerializer
                )
            ],
            connection=connection,
            serializer=JSONSerializer,
            job_class=PlainJob,
            job_monitoring_interval=LOOK_EVERY_SECONDS,
            maintenance_interval=LOOK_EVERY_SECONDS,
            worker_ttl=15 + LOOK_EVERY_SECONDS,
            log_job_description=False,
        )
        self._app = app
        self._looked_at = 0.0
        self._told_to_end = False

    def register_birth(self) -> None:
        """The first that a worker writes: where Redis answers but takes nothing it looks for syncs
        and asks again, for RQ would end."""
        self._install_signal_handlers()  # type: ignore[no-untyped-call]  # RQ does later
        while not self._told_to_end:
            try:
                super().register_birth()  # type: ignore[no-untyped-call]
                return
            except ResponseError as error:
                _tell_of(error)
                self._look()
                time.sleep(_ASK_AGAIN_SECONDS)
        raise StopRequested

    def set_state(self, *args: Any, **kwargs: Any) -> None:
        """Busy or idle, for whoever looks: no reason for an idle worker not to beat."""
        with _without(ResponseError):
            super().set_state(*args, **kwargs)

    def check_for_suspension(self, burst: bool) -> None:
        """RQ beats at this as well, and would end."""
        with _without(ResponseError):
            super().check_for_suspension(burst)

    def register_death(self) -> None:
        """The last that a worker writes."""
        with _without(ResponseError):
            super().register_death()  # type: ignore[no-untyped-call]

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Refuse anything in the queue that is not a job of ours: who can write to Redis must not
        be able to run code here."""
        try:
            name = str(job.func_name)
        except DeserializationError:  # written by another program, in another way
            name = ""
        if name not in ALLOWED_JOBS:
            log.error("foreign_job_refused", job_id=job.id)
            job.delete()
            with self._in_database():
                named = name[:_LONGEST_NAME]
                audit.note(Event.FOREIGN_JOB_REFUSED, result=Result.REFUSED, function=named)
            return
        try:
            super().execute_job(job, queue)
        except ResponseError as error:
            _tell_of(error)
            self.executions.clear()  # else the next job would be taken for this one

    def dequeue_job_and_maintain_ttl(self, *args: Any, **kwargs: Any) -> tuple[Job, Queue] | None:
        """Wait for a job, and also for a Redis that answers but takes nothing: RQ would end."""
        while not self._told_to_end:
            try:
                return super().dequeue_job_and_maintain_ttl(*args, **kwargs)
            except ResponseError as error:
                _tell_of(error)
                time.sleep(_ASK_AGAIN_SECONDS)
        raise StopRequested

    def perform_job(self, job: Job, queue: Queue, *args: Any) -> bool:
        """In the work-horse: the connections of the parent are not ours to use."""
        with self._app.app_context():
            db.engine.dispose(close=False)
            return bool(super().perform_job(job, queue, *args))

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        """RQ beats every few seconds, idle or busy: the moment to look for syncs that
        are lost or due."""
        looked = not self.is_horse and self._look()
        # Afterwards, for a Redis that is away is tried for more than a minute.
        with _without(ResponseError):
            super().heartbeat(*args, **kwargs)
        if looked:
            with _without(RedisError):
                worker_registration.register(self)  # one that lost its data knows of nobody
                note_worker(self.connection)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Beside a running sync: it does not need Redis, and would end with this process."""
        with _without(RedisError):
            super().maintain_heartbeats(job, execution)

    def set_shutdown_requested_date(self) -> None:
        """Told to end beside a running sync, which goes on to the end of its page."""
        with _without(RedisError):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]

    def handle_work_horse_killed(self, job: Job, *args: Any) -> None:
        """The work-horse died alone: nobody needs to wait for its lease to run out."""
        super().handle_work_horse_killed(job, *args)  # type: ignore[no-untyped-call]
        with self._in_database():
            sync_log_id, attempt = job.args
            lease.expire(sync_log_id, attempt)
        self._recover()

    def setup_work_horse_signals(self) -> None:
        """The work-horse dies with this process, and can be told to hand its sync over."""
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        die_with_parent()
        gc.freeze()  # what all jobs share is not looked through, nor copied, again and again
        use_memory_sparingly()
        if os.getppid() != self.pid:
            os._exit(1)
        signal.signal(signal.SIGUSR1, _hand_over)
        # A service manager may tell all processes at once; RQ itself ends this one by SIGKILL.
        signal.signal(signal.SIGTERM, _hand_over)

    def run_maintenance_tasks(self) -> None:
        """RQ comes here every few seconds with no job in hand. Told to end, it raises out of
        whatever it was doing, and a library that lets no exception out of its clean-up would let
        it work on for ever: so it is told again."""
        if self._told_to_end:
            raise StopRequested
        with _without(ResponseError):
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        """Told to end: the sync goes on elsewhere after the page at hand."""
        self._told_to_end = True
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        if self.horse_pid:
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGUSR1)

    def _look(self) -> bool:
        """See what is lost, due, or to be removed; False if that was done just now."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_SECONDS - 1:
            return False
        self._looked_at = time.monotonic()
        self._recover()
        self._start_due()
        with self._in_database():
            retention.remove_a_little()
        return True

    def _recover(self) -> None:
        with self._in_database():
            for sync_log_id in recovery.recover_stale_syncs():
                log.warning("sync_given_to_another_worker", sync_log_id=sync_log_id)

    def _start_due(self) -> None:
        with self._in_database():
            for sync_log_id in schedule.start_due_syncs():
                log.info("scheduled_sync_started", sync_log_id=sync_log_id)

    @contextmanager
    def _in_database(self) -> Iterator[None]:
        """Look into the database from the process that forks: leave no connection for a child to
        inherit, and let trouble pass, for the next look is a few seconds away."""
        with self._app.app_context():
            try:
                yield
            except (SQLAlchemyError, AppError) as error:
                log.warning("could_not_look_into_the_database", error=type(error).__name__)
            finally:
                db.session.remove()
                db.engine.dispose()


def start(app: Flask) -> None:
    """Work until told to stop."""
    with app.app_context():
        make_ready()
    level = "DEBUG" if app.config["LOG_LEVEL"] == "debug" else "WARNING"
    with suppress(StopRequested):  # told to end before it has begun
        SyncWorker(app).work(logging_level=level)


@contextmanager
def _without(trouble: type[RedisError]) -> Iterator[None]:
    """Go on without what could not be written. A Redis that is full, cannot save or may only be
    read answers with a ResponseError; other errors say that it is away, and where no sync runs RQ
    waits for its return."""
    try:
        yield
    except trouble as error:
        _tell_of(error)


def _tell_of(error: RedisError) -> None:
    log.warning("redis_did_not_take_it", error=type(error).__name__)


def _hand_over(_signal: int, _frame: FrameType | None) -> None:
    engine.hand_over_requested.set()
