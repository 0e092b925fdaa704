"""The process that tells others: webhooks, mails, and a sign of life.

It is apart from the workers, so that a receiver who is slow or dead never holds a sync up. There
may be several of it: the rows say whose turn it is.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from webapp.services import alive, notices
from webapp.services.webhooks import sending

log = structlog.get_logger()

AT_ONCE = 8
LOOK_EVERY_SECONDS = 1.0
NOW_AND_THEN_SECONDS = 120.0

# The C library reads this: a name server that is silent must not hold a thread for half a minute.
_RESOLVER = ("RES_OPTIONS", "timeout:2 attempts:2")


class Deliverer:
    """Looks once a second for what is due, and sends several things at a time."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._running: set[Future[None]] = set()
        self._stopping = False
        self._wake = threading.Event()
        self._now_and_then_at = -NOW_AND_THEN_SECONDS

    def stop(self) -> None:
        """Finish what is being sent, and take nothing more, from the next look on.

        May be called in a signal handler: it takes no lock, for the thread that is interrupted may
        hold it. So it wakes nobody either.
        """
        self._stopping = True

    def run(self) -> None:
        """Send until told to stop."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="deliver") as pool:
            while not self._stopping:
                self._wake.clear()
                self._running = {each for each in self._running if not each.done()}
                due = self._due(AT_ONCE - len(self._running))
                for task in due:
                    future = pool.submit(self._do, task)
                    future.add_done_callback(lambda _: self._wake.set())
                    self._running.add(future)
                if not due:
                    self._wake.wait(LOOK_EVERY_SECONDS)

    def _due(self, free: int) -> list[Callable[[], object]]:
        """What is to be done now, no more than there are threads free; all of it is taken."""
        tasks: list[Callable[[], object]] = []
        if free > 1 and time.monotonic() - self._now_and_then_at >= NOW_AND_THEN_SECONDS:
            self._now_and_then_at = time.monotonic()
            tasks += [alive.tell, notices.look_for_overdue]
        with self._app.app_context():
            try:
                turns = sending.take_turns(free - len(tasks))
                tasks += [partial(sending.send, turn) for turn in turns]
                mails = notices.take_due(free - len(tasks))
                tasks += [partial(notices.send, mail) for mail in mails]
            except SQLAlchemyError as error:  # what was taken runs out, and the next look is soon
                log.warning("could_not_look_for_deliveries", error=type(error).__name__)
        return tasks

    def _do(self, task: Callable[[], object]) -> None:
        with self._app.app_context():
            try:
                task()
            except SQLAlchemyError as error:
                log.warning("delivery_not_written_down", error=type(error).__name__)
            except Exception:
                log.exception("delivery_failed_unexpectedly")


def start(app: Flask) -> None:
    """Deliver until told to stop."""
    os.environ.setdefault(*_RESOLVER)
    deliverer = Deliverer(app)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: deliverer.stop())
    deliverer.run()
