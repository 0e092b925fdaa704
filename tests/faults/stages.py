"""The places at which a process can be made to die, to hang or to lose its log.

The product knows nothing of this: `tests/faults/worker.py` and `tests/faults/gunicorn_conf.py` are
what the system of the fault harness starts in place of the worker and the web server, and they wrap
the product's functions from outside.

An order is a file in the folder STAGES, named `<organization id>.<stage>`. It holds what happens,
and the how manieth time the stage is reached. When it is met, the file is renamed to `….met` and
says when, and who met it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event, select

import webapp.cliniko.line
import webapp.sync.engine
import webapp.sync.lease
import webapp.sync.lists
import webapp.sync.passes
import webapp.sync.recorder
import webapp.sync.recovery
import webapp.sync.start
import webapp.worker
from webapp.extensions import db
from webapp.models import SyncLog
from webapp.queue import RUN_SYNC

WEB_STAGES = ("row committed", "queued")
WORKER_STAGES = ("dequeued", "handing over")
SYNC_STAGES = (
    "claimed",
    "asking",
    "waiting for an answer",
    "mid-body",
    "parsed",
    "stored, not committed",
    "committed",
    "waiting for the limit",
    "between passes",
    "before the end",
    "ended",
)
ALL_STAGES = (*WEB_STAGES, *WORKER_STAGES, *SYNC_STAGES)

_reached: Counter[str] = Counter()
_mine: dict[str, int] = {}  # the clinic whose sync this work-horse has


def reach(stage: str, organization_id: int | None = None) -> None:
    """Do what was ordered for this stage, once."""
    organization_id = organization_id or _mine.get("organization")
    order = Path(os.environ["STAGES"], f"{organization_id}.{stage}")
    try:
        what, nth = order.read_text().rsplit(" ", 1)
    except FileNotFoundError:
        return
    _reached[order.name] += 1
    if _reached[order.name] < int(nth):
        return
    met = {"time": time.time(), "pid": os.getpid(), "parent": os.getppid()}
    written = order.with_suffix(".writing")
    written.write_text(json.dumps(met))
    try:
        order.unlink()
    except FileNotFoundError:
        return  # another process met it first
    written.rename(f"{order}.met")
    WHAT[what]()


def kill_parent_too() -> None:
    """SIGKILL for the worker and its work-horse."""
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_parent() -> None:
    """SIGKILL for the worker alone; its work-horse is to follow by itself."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(20)  # in which the work-horse must be ended by its own tether


def lose_the_log() -> None:
    """The disk of the log is full: every line that is written there raises."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    os.dup2(full, 2)


def fill_the_disk(*, left: int) -> None:
    """SQLite may grow by so many pages in a transaction, in this process."""

    @event.listens_for(db.engine, "begin")
    def _full(connection: sqlalchemy.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + left}")


WHAT: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kill the parent": kill_parent,
    "kill both": kill_parent_too,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "note": lambda: None,
    "lose the log": lose_the_log,
    "fill the disk": partial(fill_the_disk, left=8),  # room for last words, not for patients
    "fill the disk to its last page": partial(fill_the_disk, left=0),
}


def install() -> None:
    """Wrap the functions that lead through the stages."""
    _before(webapp.sync.start, "enqueue_sync", _with_clinic_of("row committed"))
    _after(webapp.sync.start, "enqueue_sync", _with_clinic_of("queued"))
    _before(webapp.worker.SyncWorker, "execute_job", _dequeued)
    _before(webapp.sync.recovery, "enqueue_sync", _with_clinic_of("handing over"))
    _after(webapp.sync.lease, "claim", _claimed)
    _before(webapp.cliniko.line.Line, "get", _at("asking"))
    _before(webapp.sync.recorder.Recorder, "beat", _waiting)
    _before(webapp.cliniko.line, "body_of", _at("mid-body"))
    _after(webapp.sync.lists, "record_page", _at("parsed"))
    _after(webapp.sync.recorder, "store_pages", _at("stored, not committed"))
    _after(webapp.sync.recorder.Recorder, "store", _at("committed"))
    _after(webapp.sync.passes.Passes, "_mark_done", _at("between passes"))
    _before(webapp.sync.recorder.Recorder, "finish", _at("before the end"))
    _after(webapp.sync.recorder.Recorder, "finish", _at("ended"))


def _at(stage: str) -> Callable[..., None]:
    return lambda *_args, **_options: reach(stage)


def _with_clinic_of(stage: str) -> Callable[..., None]:
    return lambda sync_log_id, *_, **__: reach(stage, _clinic_of(sync_log_id))


def _clinic_of(sync_log_id: int) -> int | None:
    return db.session.scalar(select(SyncLog.organization_id).where(SyncLog.id == sync_log_id))


def _dequeued(worker: Any, job: Any, *_: Any) -> None:
    if job.func_name == RUN_SYNC:
        with worker._in_database():
            organization_id = _clinic_of(job.args[0])
        reach("dequeued", organization_id)


def _claimed(*_args: Any, **_options: Any) -> None:
    organization_id = _clinic_of(_args[0])
    _mine["organization"] = organization_id or 0
    met = {"pid": os.getpid(), "parent": os.getppid()}
    path = Path(os.environ["STAGES"], f"{organization_id}.working")
    written = path.with_suffix(".taking")
    written.write_text(json.dumps(met))
    written.rename(path)
    reach("claimed")


def _waiting(_recorder: Any, waiting: object = None) -> None:
    reach("waiting for an answer" if waiting is None else "waiting for the limit")


def _before(owner: Any, name: str, do: Callable[..., None]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*args: Any, **options: Any) -> Any:
        do(*args, **options)
        return original(*args, **options)

    setattr(owner, name, wrapped)


def _after(owner: Any, name: str, do: Callable[..., None]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*args: Any, **options: Any) -> Any:
        answer = original(*args, **options)
        do(*args, **options)
        return answer

    setattr(owner, name, wrapped)
