"""How many requests are under way at once: several, or one where that is enough to have pages at
hand whenever they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.cliniko.stand_ins import UnlimitedBudget
from tests.support.processes import wait_until
from webapp.cliniko import listing
from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.listing import PER_PAGE, IdPage, IdRange, RangeStart, read_start
from webapp.cliniko.throttle import WaitReason
from webapp.clock import now
from webapp.sync import reader as reader_module
from webapp.sync.pace import Pace
from webapp.sync.reader import Reader
from webapp.sync.waiting import StoppableWaiter, Stopped

KEY = "a-key-au1"
PAGES = 80


class Traffic:
    """Stands at the door to Cliniko: counts who is inside, and keeps one there if told to."""

    def __init__(self) -> None:
        self.most = self._inside = 0
        self.keep_next = False
        self.kept, self.let_go = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def read_on(self, client: Cliniko, part: IdRange, after: int) -> IdPage:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            keep, self.keep_next = self.keep_next, False
        if keep:
            self.kept.set()
            assert self.let_go.wait(20)
        page = listing.read_on(client, part, after)
        with self._lock:
            self._inside -= 1
        return page


class Walk:
    """All active patients of a clinic, for one who may be slower than Cliniko."""

    def __init__(self, client: Cliniko, reader: Reader) -> None:
        first = read_start(client, Listing.ACTIVE, RangeStart(1, PER_PAGE))
        parts = reader.starts(Listing.ACTIVE, first, meanwhile=lambda: None)
        self.seen = set(map(listing.id_of, first.records))
        self._reader, self._batches = reader, reader.walk(parts)

    def next_pages(self) -> int:
        """Take the pages that are there, or wait for some; how many they are, 0 after the last."""
        pages = [page for _, page in next(self._batches, [])]
        self.seen.update(*(map(listing.id_of, page.records) for page in pages))
        return len(pages)

    def dawdle(self) -> None:
        """Do other things until all that was asked for has come."""
        wait_until(lambda: not self._reader._unanswered)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    account = ClinikoAccount.generate(active=PAGES * PER_PAGE, archived=0, merged=0, deleted=0)
    account.add_key(KEY)
    with Simulator(account, rate_limit=0) as simulator:
        yield simulator


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    traffic = Traffic()
    monkeypatch.setattr(reader_module, "read_on", traffic.read_on)
    return traffic


@contextmanager
def opened(simulator: Simulator, idle: Callable[[], None]) -> Iterator[tuple[Cliniko, Reader]]:
    waiter = StoppableWaiter()
    with (
        Cliniko(
            KEY,
            contact_email="tests@example.com",
            budget=UnlimitedBudget(),
            waiter=waiter,
            api_url=simulator.url,
        ) as client,
        Reader.opened(client, waiter, idle) as reader,
    ):
        yield client, reader


@pytest.fixture
def walk(simulator: Simulator, traffic: Traffic) -> Iterator[Walk]:
    with opened(simulator, lambda: None) as (client, reader):
        yield Walk(client, reader)


def test_pages_that_are_always_at_hand_are_asked_for_one_at_a_time(
    walk: Walk, traffic: Traffic
) -> None:
    at_once = []
    while walk.next_pages():
        walk.dawdle()
        at_once.append(traffic.most)
        traffic.most = 0

    # The last time nothing is left to ask for.
    assert (at_once[0] > 1, set(at_once[3:])) == (True, {1, 0})
    assert len(walk.seen) == PAGES * PER_PAGE


def test_one_request_that_takes_long_does_not_hold_the_others_up(
    walk: Walk, traffic: Traffic
) -> None:
    for _ in range(4):
        walk.next_pages()
        walk.dawdle()
    traffic.keep_next = True
    walk.next_pages()
    assert traffic.kept.wait(20)

    assert walk.next_pages() > 0  # while it is kept

    traffic.let_go.set()
    while walk.next_pages():
        pass
    assert len(walk.seen) == PAGES * PER_PAGE


def test_the_reader_looks_up_though_every_answer_is_there_at_once(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a worker would give no sign of life while it asks about one patient after the other."""
    monkeypatch.setattr(reader_module, "_LOOK_UP_SECONDS", 0.0)
    looks: list[int] = []
    with opened(simulator, lambda: looks.append(1)) as (_, reader):
        asked = [reader.submit(lambda: "there") for _ in range(5)]
        wait_until(lambda: all(future.done() for future in asked))

        assert reader.results(asked) == ["there"] * 5
    assert len(looks) == 5


def test_where_one_request_at_a_time_was_not_enough_it_takes_twice_as_long_to_try_again() -> None:
    pace, tried_after = Pace(), []
    for _ in range(4):
        times = 0
        while not pace.one_is_enough:
            pace.note(at_hand=True)
            times += 1
        tried_after.append(times)
        pace.note(at_hand=False)

    assert tried_after == [3, 6, 12, 24]


def test_pages_that_have_to_be_waited_for_are_asked_for_side_by_side() -> None:
    pace = Pace()
    for at_hand in [True, True, False] * 5:
        pace.note(at_hand=at_hand)
        assert not pace.one_is_enough


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        (["budget", "retry"], "budget"),
        (["retry", "budget"], "retry"),
        (["budget", "rate_limited"], "rate_limited"),  # those who are held find no room either
    ],
)
def test_who_waits_tells_for_what_the_first_of_all_waits_is(reasons: list[str], told: str) -> None:
    waiter = StoppableWaiter()

    def wait(seconds: float, reason: str) -> None:
        with suppress(Stopped):
            waiter.wait(seconds, WaitReason(reason))

    threads = [
        threading.Thread(target=wait, args=(60.0 * nth, reason))
        for nth, reason in enumerate(reasons, start=1)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: waiter.waiting(len(threads)) is not None)

    waiting = waiter.waiting(len(threads))
    waiter.stop()
    for thread in threads:
        thread.join()
    assert waiting is not None
    assert waiting.reason == told
    assert waiting.until - now() < timedelta(seconds=61)
