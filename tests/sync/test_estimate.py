"""The time that is left: no shorter than what is known of Cliniko allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.server import Simulator
from webapp.cliniko.listing import PER_PAGE
from webapp.cliniko.throttle import Waiting, WaitReason
from webapp.clock import now
from webapp.models import OperationType, SyncLog, SyncPhase
from webapp.sync import engine, estimate, lease
from webapp.sync.estimate import Estimate
from webapp.sync.progress import Progress
from webapp.sync.reader import REQUESTS_AT_ONCE

Patch = pytest.MonkeyPatch


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Slow:
    """A Cliniko of so many pages that takes as long for each answer, and whoever reads it."""

    def __init__(self, pages: int, latency: float, patch: Patch, *, before: int = 0) -> None:
        self.pages, self.latency, self._before = pages, latency, before
        self._clock = Clock()
        patch.setattr(estimate, "monotonic", self._clock)
        self.estimate = Estimate(before)
        self._shown = Progress(
            OperationType.FULL_PATIENTS,
            SyncPhase.FETCHING,
            found=before + pages * PER_PAGE,
            success=before,
            total_pages=pages,
        )

    @property
    def pages_left(self) -> int:
        return self.pages - self._shown.current_page

    def wait(self, seconds: float) -> None:
        self._clock.seconds += seconds

    def bring(self, pages: int) -> None:
        page = min(self.pages, self._shown.current_page + pages)
        self._shown = replace(
            self._shown, current_page=page, success=self._before + page * PER_PAGE
        )

    def answer(self, pages: int) -> None:
        """Bring so many pages one after the other, each as long as an answer takes."""
        for _ in range(pages):
            self.wait(self.latency)
            self.bring(1)
            self.seconds()

    def hold(self, seconds: int, reason: WaitReason) -> None:
        """All requests wait for so long, which is looked at twice a second."""
        waiting = Waiting(now() + timedelta(seconds=seconds), reason)
        for _ in range(2 * seconds):
            self.estimate.idle(waiting)
            self.wait(0.5)

    def seconds(
        self,
        waiting: Waiting | None = None,
        *,
        requests_left: int = 10_000,
        per_minute: int = 200,
    ) -> float | None:
        return self.estimate.remaining(
            self._shown, waiting, requests_left=requests_left, per_minute=per_minute
        )


def test_before_the_first_records_nothing_is_known(monkeypatch: Patch) -> None:
    cliniko = Slow(50, 5.0, monkeypatch)
    cliniko.wait(60)
    assert cliniko.seconds() is None


@pytest.mark.parametrize("reason", [*WaitReason])
def test_waiting_before_the_first_records_is_no_estimate_of_all(
    monkeypatch: Patch, reason: WaitReason
) -> None:
    cliniko = Slow(50, 5.0, monkeypatch, before=3000)
    assert cliniko.seconds(Waiting(now() + timedelta(seconds=8), reason)) is None


def test_records_of_an_earlier_attempt_tell_nothing(monkeypatch: Patch) -> None:
    cliniko = Slow(50, 5.0, monkeypatch, before=3000)
    cliniko.wait(5)
    assert cliniko.seconds() is None
    cliniko.bring(1)
    assert cliniko.seconds() == 7 * 5.0


def test_what_comes_next_takes_as_long_as_the_first_answer_did(monkeypatch: Patch) -> None:
    cliniko = Slow(1 + 3 * REQUESTS_AT_ONCE, 5.0, monkeypatch)
    cliniko.wait(5)
    cliniko.bring(1)
    assert cliniko.seconds() == 15.0
    cliniko.wait(4)
    assert cliniko.seconds() == 11.0


def test_what_is_under_way_for_longer_makes_the_rest_longer(monkeypatch: Patch) -> None:
    cliniko = Slow(1 + 3 * REQUESTS_AT_ONCE, 5.0, monkeypatch)
    cliniko.wait(5)
    cliniko.bring(1)
    cliniko.seconds()
    cliniko.wait(20)
    assert cliniko.seconds() == 40.0


def test_then_the_estimate_follows_the_rate(monkeypatch: Patch) -> None:
    cliniko = Slow(36, 1.0, monkeypatch)
    cliniko.wait(1)
    cliniko.bring(1)
    cliniko.seconds()
    cliniko.wait(2)
    cliniko.bring(8)
    assert cliniko.seconds() == 27 * 3 / 9


def test_answers_that_were_asked_for_together_are_no_rate(monkeypatch: Patch) -> None:
    """An attempt that takes over asks for eight pages at once, and they come one by one."""
    cliniko = Slow(80, 5.0, monkeypatch)
    cliniko.wait(5)
    cliniko.bring(1)
    cliniko.seconds()
    cliniko.wait(0.05)
    cliniko.bring(7)
    assert cliniko.seconds() == pytest.approx(72 / 8 * 5.05)


def test_waiting_before_the_first_question_is_no_time_of_cliniko(monkeypatch: Patch) -> None:
    cliniko = Slow(1 + REQUESTS_AT_ONCE, 1.0, monkeypatch)
    cliniko.wait(60)
    cliniko.estimate.not_asked_yet()
    cliniko.wait(1)
    cliniko.bring(1)
    assert cliniko.seconds() == 1.0
    cliniko.estimate.not_asked_yet()  # too late: the first has come
    cliniko.wait(1)
    cliniko.bring(4)
    assert cliniko.seconds() == 4 * 2 / 5


@pytest.mark.parametrize("reason", [WaitReason.RATE_LIMITED, WaitReason.RETRY])
def test_time_in_which_cliniko_wants_no_requests_is_no_rate(
    monkeypatch: Patch, reason: WaitReason
) -> None:
    cliniko = Slow(400, 0.1, monkeypatch)
    cliniko.answer(200)
    cliniko.hold(60, reason)
    cliniko.estimate.idle(None)
    assert cliniko.seconds() == pytest.approx(20.0, abs=1)  # 200 pages at ten a second
    cliniko.wait(10)
    cliniko.bring(100)
    assert cliniko.seconds() == pytest.approx(10.0, abs=1)


def test_time_that_the_budget_makes_us_wait_is_part_of_the_rate(monkeypatch: Patch) -> None:
    cliniko = Slow(400, 0.1, monkeypatch)
    cliniko.answer(200)
    cliniko.hold(20, WaitReason.BUDGET)
    assert cliniko.seconds() == pytest.approx(40.0, abs=1)


def test_the_estimate_knows_the_waiting_that_the_limit_forces(monkeypatch: Patch) -> None:
    # 1,000 pages to go, 200 of them at once: the other 800 need four minutes at 200 a minute.
    cliniko = Slow(1001, 0.01, monkeypatch)
    cliniko.wait(0.01)
    cliniko.bring(1)
    assert cliniko.seconds(requests_left=200) == 240.0


@given(st.integers(1, 400), st.floats(0.01, 40), st.floats(0, 0.99), st.integers(0, 5000))
def test_it_is_never_shorter_than_the_truth_by_more_than_an_answer(
    pages: int, latency: float, into: float, before: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cliniko = Slow(pages, latency, patch, before=before)
        cliniko.wait(latency)
        cliniko.bring(1)
        first = cliniko.seconds()
        assert (first is None) == (not cliniko.pages_left)  # then nothing is left to estimate
        assert first is None or first >= _truth(cliniko) * 0.999
        while cliniko.pages_left:
            cliniko.wait(latency * into)
            under_way = cliniko.seconds()
            assert under_way is not None
            assert under_way >= _truth(cliniko) - latency * (1 + into) - 0.001
            cliniko.wait(latency * (1 - into))
            cliniko.bring(REQUESTS_AT_ONCE)
            shown = cliniko.seconds()
            assert (shown is None) == (not cliniko.pages_left)
            assert shown is None or shown >= _truth(cliniko) - latency - 0.001


def _truth(cliniko: Slow) -> float:
    return ceil(cliniko.pages_left / REQUESTS_AT_ONCE) * cliniko.latency


def test_the_first_estimate_of_a_slow_cliniko_is_as_long_as_its_first_answers_took(
    begin: Callable[..., SyncLog], cliniko: Simulator, monkeypatch: Patch
) -> None:
    log, clock, written = begin(), Clock(), list[float | None]()
    monkeypatch.setattr(estimate, "monotonic", clock)
    write = lease.write

    def note(sync_log_id: int, attempt: int, **values: Any) -> None:
        written.append(values.get("progress", {}).get("estimated_remaining_seconds"))
        write(sync_log_id, attempt, **values)

    def take_a_minute(*_: object) -> None:
        clock.seconds += 60

    monkeypatch.setattr(lease, "write", note)
    cliniko.before_request = take_a_minute

    engine.run(log.id, 1, worker="test")

    told = [each for each in written if each is not None]
    assert told[0] >= 4 * 60  # the account, two first pages, and a count
