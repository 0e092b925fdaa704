"""The process that tells others: webhooks, mails, and a sign of life.

It is apart from the workers, so that a receiver who is slow or dead never holds a sync up. There
may be several of it: the rows say whose turn it is.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from webapp.services import audit_anchors, deadman, notice_sending, notices
from webapp.services.webhooks import sending

log = structlog.get_logger()

AT_ONCE = 8
WEBHOOKS_AT_ONCE = AT_ONCE - 2  # a mail finds a place though every receiver is silent
LOOK_EVERY_SECONDS = 1.0
NOW_AND_THEN_SECONDS = 120.0

_NOW_AND_THEN = (deadman.tell, notices.look_for_overdue, audit_anchors.tell)

# The C library reads this: a name server that is silent must not hold a thread for half a minute.
_RESOLVER = ("RES_OPTIONS", "timeout:2 attempts:2")


class Deliverer:
    """Looks once a second for what is due, and sends several things at a time."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._webhooks: set[Future[None]] = set()
        self._mails: set[Future[None]] = set()
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
        # What is done now and then has threads of its own: it waits for no receiver.
        threads = AT_ONCE + len(_NOW_AND_THEN)
        with ThreadPoolExecutor(threads, thread_name_prefix="deliver") as pool:
            while not self._stopping:
                self._wake.clear()
                if not self._begin_what_is_due(pool):
                    self._wake.wait(LOOK_EVERY_SECONDS)

    def _begin_what_is_due(self, pool: ThreadPoolExecutor) -> bool:
        """Take what is due, as far as there are places, and begin it; says whether anything was."""
        others = self._begin(pool, self._due_now_and_then())
        self._webhooks = {each for each in self._webhooks if not each.done()}
        self._mails = {each for each in self._mails if not each.done()}
        free = AT_ONCE - len(self._webhooks) - len(self._mails)
        with self._app.app_context():
            try:
                turns = sending.take_turns(min(free, WEBHOOKS_AT_ONCE - len(self._webhooks)))
                webhooks = self._begin(pool, [partial(sending.send, turn) for turn in turns])
                self._webhooks |= webhooks
                taken = notice_sending.take_due(free - len(webhooks))
                mails = self._begin(pool, [partial(notice_sending.send, mail) for mail in taken])
                self._mails |= mails
            except SQLAlchemyError as error:  # what was taken runs out, and the next look is soon
                log.warning("could_not_look_for_deliveries", error=type(error).__name__)
                return False
        return bool(others or webhooks or mails)

    def _due_now_and_then(self) -> tuple[Callable[[], object], ...]:
        if time.monotonic() - self._now_and_then_at < NOW_AND_THEN_SECONDS:
            return ()
        self._now_and_then_at = time.monotonic()
        return _NOW_AND_THEN

    def _begin(
        self, pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], object]]
    ) -> set[Future[None]]:
        begun = {pool.submit(self._do, task) for task in tasks}
        for future in begun:
            future.add_done_callback(lambda _: self._wake.set())
        return begun

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
