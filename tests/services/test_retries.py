"""When a message is tried again, and for how long a receiver is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.services import retries

FIRST = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
PLANNED = [5, 300, 1_800, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24))]


@pytest.mark.parametrize(("tries", "seconds"), list(enumerate(PLANNED, start=1)))
def test_the_tries_follow_the_plan_give_or_take_a_tenth(tries: int, seconds: int) -> None:
    before = PLANNED[tries - 2] if tries > 1 else 0
    found = set()
    for _ in range(200):
        due = retries.next_try(FIRST, tries, FIRST, None)
        assert due is not None
        found.add((due - FIRST).total_seconds())
    assert seconds <= min(found)
    assert max(found) <= seconds + (seconds - before) / 10
    assert len(found) > 100  # they do not all come at once


def test_after_ten_tries_it_is_over() -> None:
    assert retries.MOST_TRIES == 10
    assert retries.next_try(FIRST, 10, FIRST, None) is None


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(60, 60), (3600, 3600), (10**9, 86_400), (-60, 5)],
)
def test_what_a_receiver_asks_for_is_obeyed_within_reason(asked: int, waits: int) -> None:
    moment = FIRST + timedelta(minutes=1)  # the plan has passed already
    due = retries.next_try(FIRST, 1, moment, timedelta(seconds=asked))
    assert due == moment + timedelta(seconds=waits)


ABSENCE = st.timedeltas(timedelta(), timedelta(days=30))


@given(away=st.lists(ABSENCE, min_size=retries.MOST_TRIES, max_size=retries.MOST_TRIES))
def test_however_long_the_sender_is_away_before_each_try_they_are_as_far_apart_as_planned(
    away: list[timedelta],
) -> None:
    tried: list[datetime] = []
    due: datetime | None = FIRST
    for absence in away:
        assert due is not None
        tried.append(due + absence)
        due = retries.next_try(FIRST, len(tried), tried[-1], None)
    assert due is None
    steps = [later - sooner for sooner, later in pairwise([0, *PLANNED])]
    apart = [(later - sooner).total_seconds() for sooner, later in pairwise(tried)]
    assert all(found >= step for found, step in zip(apart, steps, strict=True)), apart


@pytest.mark.parametrize(
    ("asked", "days"),
    [
        (timedelta(minutes=30), 1.2),
        (timedelta(hours=1), 1.3),
        (timedelta(hours=3), 2.3),
        (None, 1.01),
    ],
)
def test_a_receiver_that_asks_for_time_and_is_dead_is_given_up_all_the_same(
    asked: timedelta | None, days: float
) -> None:
    moment, failures = FIRST, 1
    while not retries.has_failed_for_long(FIRST, failures, moment, asked):
        moment += retries.rest(failures, asked)
        failures += 1
    assert timedelta(days=1) <= moment - FIRST < timedelta(days=days)


def test_one_answer_that_asks_for_a_day_is_no_day_of_failures() -> None:
    a_day = timedelta(days=1)
    assert not retries.has_failed_for_long(FIRST, 17, FIRST + 5 * a_day, a_day)
    assert retries.has_failed_for_long(FIRST, 18, FIRST + 17 * a_day, a_day)


@given(away=st.dictionaries(st.integers(1, 300), ABSENCE, max_size=4))
def test_whenever_the_sender_is_away_a_dead_receiver_is_given_up_after_a_day_of_tries(
    away: dict[int, timedelta],
) -> None:
    moment, failures = FIRST, 1
    while not retries.has_failed_for_long(FIRST, failures, moment, None):
        moment += retries.rest(failures, None) + away.get(failures, timedelta())
        failures += 1
    absent = sum((absence for after, absence in away.items() if after < failures), timedelta())
    tried_for = moment - FIRST - absent
    assert timedelta(hours=24) <= tried_for < timedelta(hours=24, minutes=5)


def test_a_receiver_that_fails_is_left_alone_for_longer_each_time() -> None:
    rests = [retries.rest(number, None).total_seconds() for number in range(1, 9)]
    assert rests == [5, 10, 20, 40, 80, 160, 300, 300]
    assert retries.rest(10**6, None) == timedelta(minutes=5)
    assert retries.rest(1, timedelta(hours=1)) == timedelta(hours=1)
