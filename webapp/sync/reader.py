"""Several requests to Cliniko at once, their answers one after the other in the caller's thread.

Only this thread touches the database, so pages are stored while the next ones are on their way,
and never more than one page a range waits in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.listing import (
    IdPage,
    IdRange,
    OrderIgnored,
    goes_up,
    highest_id,
    plan_starts,
    read_last,
    read_on,
    read_start,
    walk_links,
)
from webapp.cliniko.page import Page
from webapp.cliniko.throttle import Waiting
from webapp.sync.pace import Pace
from webapp.sync.waiting import StoppableWaiter

REQUESTS_AT_ONCE = 8
T = TypeVar("T")

# A range to read, with its first page if that has been read already.
Part = tuple[IdRange, IdPage | None]

# What was asked for and is not passed on yet: of which range, and behind which id.
Pending = dict[Future[IdPage], tuple[IdRange, int]]

_LOOK_UP_SECONDS = 0.5


class Reader:
    """Reads the listings of one client.

    `idle` is called twice a second while answers are awaited, however soon they come; what it
    raises ends the reading. At most so many pages as `together` are passed on at once.
    """

    def __init__(
        self, client: Cliniko, waiter: StoppableWaiter, idle: Callable[[], None], together: int
    ) -> None:
        self._client = client
        self._together = together
        self._waiter = waiter
        self._idle = idle
        self._side_by_side = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="cliniko")
        self._one_by_one = ThreadPoolExecutor(1, thread_name_prefix="cliniko-alone")
        self._pace = Pace()
        self._unanswered: set[Future[Any]] = set()
        self._look_up_at = 0.0

    @classmethod
    @contextmanager
    def opened(
        cls,
        client: Cliniko,
        waiter: StoppableWaiter,
        idle: Callable[[], None],
        *,
        together: int = REQUESTS_AT_ONCE,
    ) -> Iterator[Reader]:
        """A reader whose threads are ended whatever happens."""
        reader = cls(client, waiter, idle, together)
        try:
            yield reader
        finally:
            waiter.stop()
            for pool in (reader._side_by_side, reader._one_by_one):
                pool.shutdown(wait=False, cancel_futures=True)

    @property
    def waiting(self) -> Waiting | None:
        """Until when every request waits; None while one is on its way."""
        return self._waiter.waiting(min(len(self._unanswered), REQUESTS_AT_ONCE))

    def submit(self, question: Callable[[], T]) -> Future[T]:
        """Put a question; its answer comes meanwhile."""
        return self._submit(question, self._side_by_side)

    def _submit(self, question: Callable[[], T], pool: ThreadPoolExecutor) -> Future[T]:
        future = pool.submit(question)
        self._unanswered.add(future)
        future.add_done_callback(self._unanswered.discard)
        return future

    def result(self, future: Future[T]) -> T:
        """The answer to a question that was put, or what it has raised."""
        self._next_finished([future])
        return future.result()

    def results(self, futures: Iterable[Future[T]]) -> list[T]:
        """The answers to several questions that were put, in the same order."""
        return [self.result(future) for future in futures]

    def ask(self, questions: Iterable[Callable[[], T]]) -> list[T]:
        """Put several questions at once; the answers in the same order."""
        return self.results([self.submit(question) for question in questions])

    def starts(
        self, listing: Listing, first: IdPage, *, meanwhile: Callable[[], None]
    ) -> list[Part]:
        """The ranges of a listing whose first page has been read, each with its own first page.

        The page that was read is the caller's to store `meanwhile`. Raises OrderIgnored.
        """
        plan = plan_starts(first.total_entries, REQUESTS_AT_ONCE)[1:]
        asked = [self.submit(partial(read_start, self._client, listing, start)) for start in plan]
        probe = self.submit(partial(read_last, self._client, listing)) if plan else None
        meanwhile()
        others = [self.result(future) for future in asked]
        last = self.result(probe) if probe else None
        sorted_by_id = last is None or goes_up(first, last)
        if not sorted_by_id or not all(page.in_order for page in (first, *others)):
            raise OrderIgnored(listing)
        found = {page.first_id: page for page in others if page.first_id is not None}
        bounds = sorted(found)
        # The last range ends with the highest id, or nobody would notice if it ended too early.
        # Whoever is created later is among those who have changed meanwhile.
        first_end, *ends = [*bounds, highest_id(last) if last else None]
        begun = IdRange(listing, until=first_end)
        begun.move_to(first)
        parts: list[Part] = [] if begun.done else [(begun, None)]
        for first_id, until in zip(bounds, ends, strict=True):
            page = found[first_id]
            if until is not None:  # the range ends there, whatever its first page says
                page = replace(page, ends=False)
            parts.append((IdRange(listing, first_id - 1, until), page))
        return parts

    def set_end(self, part: IdRange, first: IdPage) -> None:
        """Let a range that goes on behind its first page end with its highest id, or nobody would
        notice if it ended too early. Raises OrderIgnored."""
        if first.ends:
            return
        last = self.result(
            self.submit(partial(read_last, self._client, part.listing, part.filters))
        )
        if not goes_up(first, last):
            raise OrderIgnored(part.listing)
        part.until = highest_id(last)

    def walk(self, parts: list[Part]) -> Iterator[list[tuple[IdRange, IdPage]]]:
        """Every page of some ranges, as they come and a few together that came together; within a
        range in order.

        A first page that was read already is passed on, and the next one is asked for before it
        is. The list is emptied on the way, so that no page stays in memory.
        """
        pending: Pending = {}
        for part, first in parts:
            if first is None:
                self._go_on(pending, part, part.after)
            elif not part.is_read_by(first):
                self._go_on(pending, part, first.last_id)
        begun = [(part, first) for part, first in parts if first is not None]
        parts.clear()
        while begun:
            some = begun[: self._together]
            del begun[: self._together]
            yield some
            del some
        try:
            while pending:
                self._keep_pace(pending)
                yield self._next_pages(pending)
        finally:  # what was not asked yet, nobody wants to know any more
            for future in pending:
                future.cancel()

    def _go_on(self, pending: Pending, part: IdRange, after: int) -> None:
        """Ask for the page of a range that follows behind this id."""
        pool = self._one_by_one if self._pace.one_is_enough else self._side_by_side
        pending[self._submit(partial(read_on, self._client, part, after), pool)] = part, after

    def _keep_pace(self, pending: Pending) -> None:
        """Where one request at a time is not enough, ask anew for what queues behind another."""
        ready = sum(future.done() for future in pending)
        self._pace.note(at_hand=ready >= min(self._together, len(pending)))
        if not self._pace.one_is_enough:
            for future in [each for each in pending if each.cancel()]:
                self._go_on(pending, *pending.pop(future))

    def _next_pages(self, pending: Pending) -> list[tuple[IdRange, IdPage]]:
        """Wait for the pages that come next; where their ranges go on, ask on behind them."""
        come = []
        finished = self._next_finished(pending.keys())
        for future in [each for each in pending if each in finished][: self._together]:
            part, _ = pending.pop(future)
            page = future.result()
            if not part.is_read_by(page):
                self._go_on(pending, part, page.last_id)
            come.append((part, page))
        return come

    def walk_links(self, listing: Listing) -> Iterator[Page]:
        """The pages of a listing by its links, one at a time."""
        pages = walk_links(self._client, listing)

        def following() -> Page | None:
            return next(pages, None)

        while (page := self.result(self.submit(following))) is not None:
            yield page

    def _next_finished(self, futures: Iterable[Future[T]]) -> set[Future[T]]:
        waiting_for = set(futures)
        while True:
            done, _ = wait(waiting_for, timeout=_LOOK_UP_SECONDS, return_when=FIRST_COMPLETED)
            # Also if answers come all the time: not each of them leads to a write.
            if (moment := monotonic()) >= self._look_up_at:
                self._look_up_at = moment + _LOOK_UP_SECONDS
                self._idle()
            if done:
                return done
