"""The queue that wakes workers. It names jobs by dotted string and carries ids, nothing else.

The database holds the truth about every sync; Redis only passes the word on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from flask import current_app
from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue, Worker
from rq.exceptions import DuplicateJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from webapp.clock import now
from webapp.errors import QueueUnavailable

SYNC_QUEUE = "sync"
RUN_SYNC = "webapp.jobs.run_sync"
WORKER_SILENCE = timedelta(seconds=20)  # a living worker beats every five
WORKER_ABSENCE = timedelta(minutes=5)
_WORKER_SEEN = "sync:worker-seen"
_TAKES_WRITES = "sync:takes-writes"
_AWAY_AT = "redis_away_at"  # when this process last met a Redis that was away, or took nothing
JOB_TIMEOUT = 24 * 3600  # seconds; the engine's own limit ends a sync well before


def web_connection(url: str) -> Redis:
    """A connection for answering people: gives up after a second, never tries again by itself."""
    return Redis.from_url(
        url, socket_timeout=1.0, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0)
    )


def worker_connection(url: str) -> Redis:
    """A connection for workers: rides out a restart of Redis instead of ending the worker."""
    return Redis.from_url(url, retry=Retry(ExponentialBackoff(cap=2, base=0.1), 40))


def enqueue_sync(sync_log_id: int, attempt: int, *, at_front: bool = False) -> None:
    """Ask a worker to go on with a sync. Asking twice for the same attempt queues it once.

    Raises QueueUnavailable if Redis cannot be reached or refuses the write.
    """
    with suppress(DuplicateJobError), _queue_trouble():
        _queue().enqueue(
            RUN_SYNC,
            sync_log_id,
            attempt,
            job_id=_job_id(sync_log_id, attempt),
            unique=True,
            at_front=at_front,
            job_timeout=JOB_TIMEOUT,
            result_ttl=0,  # how a sync went is told by the database
            failure_ttl=7 * 24 * 3600,
        )


def is_queued(sync_log_id: int, attempt: int) -> bool:
    """Whether this attempt still waits in the queue. Raises QueueUnavailable."""
    with _queue_trouble():
        return _job_id(sync_log_id, attempt) in _queue().get_job_ids()


def forget_sync(sync_log_id: int, attempt: int) -> None:
    """Take a sync that is over out of the queue; if Redis is away, a worker finds nothing to do."""
    job_id = _job_id(sync_log_id, attempt)
    with suppress(RedisError):
        if _queue().remove(job_id):  # else a worker has it, and ends it
            redis_connection().delete(Job.key_for(job_id))


def length() -> int | None:
    """How many syncs wait in the queue; None if Redis cannot be asked."""
    try:
        return _queue().count
    except RedisError:
        return None


def takes_writes() -> bool:
    """Whether Redis answers, and takes what is written: one that is full, cannot save or may only
    be read does the first alone."""
    try:
        return bool(redis_connection().set(_TAKES_WRITES, 1, px=1000))
    except RedisError:
        current_app.extensions[_AWAY_AT] = now()
        return False


def workers_connected() -> int | None:
    """How many workers are alive, busy or not; None if Redis cannot be asked, takes nothing, or did
    so until just now: living workers have to beat again before it knows of them."""
    known: dict[str, Any] = current_app.extensions
    try:
        workers = Worker.all(connection=redis_connection(), serializer=JSONSerializer)
    except RedisError:
        known[_AWAY_AT] = now()
        return None
    since = now() - WORKER_SILENCE
    alive = sum(
        worker.last_heartbeat is not None and worker.last_heartbeat > since for worker in workers
    )
    if not alive and not takes_writes():  # it takes nothing, beats of workers neither
        return None
    return alive or (None if known.get(_AWAY_AT, since) > since else 0)


def note_worker(connection: Redis) -> None:
    """A worker is alive."""
    connection.set(_WORKER_SEEN, 1, ex=WORKER_ABSENCE)


def worker_seen_lately() -> bool:
    """Whether a worker was alive within five minutes, by the clock of Redis; True if it cannot be
    asked. Between two releases there may be none for a moment."""
    try:
        return bool(redis_connection().exists(_WORKER_SEEN))
    except RedisError:
        return True


def redis_connection() -> Redis:
    """The application's one pool of connections to Redis, made when first needed."""
    pool: dict[str, Any] = current_app.extensions
    if "redis" not in pool:
        pool["redis"] = web_connection(current_app.config["REDIS_URL"])
    connection: Redis = pool["redis"]
    return connection


@contextmanager
def _queue_trouble() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise QueueUnavailable() from error


def _job_id(sync_log_id: int, attempt: int) -> str:
    return f"sync-{sync_log_id}-{attempt}"


def _queue() -> Queue:
    return Queue(SYNC_QUEUE, connection=redis_connection(), serializer=JSONSerializer)
