"""Redis that is away, hangs, forgets, refuses, or holds what is not ours."""

from __future__ import annotations

import signal
import time

from rq import Queue
from rq.serializers import JSONSerializer

from tests.faults.injection import Action, Injection
from webapp.queue import enqueue_sync


def away_at_start(it: Injection) -> None:
    """Redis is down when the button is pressed."""
    it.parts.redis.stop(signal.SIGKILL)
    _refused_start(it)
    it.parts.redis.start()
    it.parts.wait_until_ready()


def refuses(*commands: tuple[str, ...], back: tuple[str, ...]) -> Action:
    """Redis answers, but takes nothing."""

    def do(it: Injection) -> None:
        redis = it.parts.talk_to_redis()
        for command in commands:
            redis.execute_command(*command)  # type: ignore[no-untyped-call]
        _refused_start(it)
        redis.execute_command(*back)  # type: ignore[no-untyped-call]
        it.parts.wait_until_ready()

    return do


def refuses_in_the_middle(
    command: tuple[str, ...], back: tuple[str, ...], seconds: float = 20
) -> Action:
    """Redis takes nothing for a while, in which a sync runs."""

    def do(it: Injection) -> None:
        it.slow(8_000)  # so that it runs for longer
        it.start()
        it.until_stored()
        working = it.working()
        redis = it.parts.talk_to_redis()
        redis.execute_command(*command)  # type: ignore[no-untyped-call]
        time.sleep(seconds)
        if it.is_over():
            it.problems.append("the sync was over before Redis took anything again")
        redis.execute_command(*back)  # type: ignore[no-untyped-call]
        it.until(it.is_over, 60)
        it.until(lambda: it.parts.workers_alive() >= 2, 20)
        if it.working() != working:
            it.problems.append("another worker had to take the sync over")

    return do


def _refused_start(it: Injection) -> None:
    begun = time.monotonic()
    answer = it.start()
    took = time.monotonic() - begun
    if answer is None or answer.status_code != 503:
        it.problems.append(f"the start was answered {answer and answer.status_code}")
    elif answer.json()["error_code"] != "QUEUE_UNAVAILABLE" or "Retry-After" not in answer.headers:
        it.problems.append(f"the start was refused with {answer.text[:200]}")
    if it.too_long(took, 2.5):
        it.problems.append(f"the refusal took {took:.1f} s")


def hangs(seconds: float) -> Action:
    """Redis takes connections and says nothing for a while."""

    def do(it: Injection) -> None:
        it.slow(100)
        it.parts.redis.send(signal.SIGSTOP)
        begun = time.monotonic()
        answer = it.ask("POST", f"/cliniko/sync-all/{it.organization_id}")
        took = time.monotonic() - begun
        if answer is None or answer.status_code != 503 or it.too_long(took, 4):
            it.problems.append(f"the start: {answer and answer.status_code} after {took:.1f} s")
        time.sleep(max(0.0, seconds - took))
        it.parts.redis.send(signal.SIGCONT)
        it.start()

    return do


def away_in_the_middle(seconds: float) -> Action:
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


def forgets(how: str) -> Action:
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


def dies_at_enqueue(it: Injection) -> None:
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
