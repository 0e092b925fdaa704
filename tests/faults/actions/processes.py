"""Processes that die, hang, or are told to end."""

from __future__ import annotations

import signal
import threading
import time

from tests.faults.actions.cliniko import LISTS
from tests.faults.injection import Action, Injection, kill
from tests.support.processes import is_alive
from webapp.sync import recovery


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


def stopped_with_the_lock(it: Injection) -> None:
    """A work-horse is stopped in the middle of a write on SQLite, where that locks everybody out.
    The sync is shown as failed meanwhile; and what was shown stays so when it goes on."""
    it.slow(100)
    it.order("stored, not committed", "stop", 3)
    it.start()
    met = it.until_met("stored, not committed")
    if met is None:
        return
    it.until(it.is_over, 70)
    kill(met["pid"], signal.SIGCONT)
    it.until(lambda: not is_alive(met["pid"]), 60)
    later = it.look_again()
    if later is None or later.running:
        it.problems.append(f"shown as failed, and then as {later and later.outcome}")


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
    it.until(lambda: it.says_on_its_page("No worker is running"), 45)
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
