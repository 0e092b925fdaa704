"""When a message is tried again, and for how long a receiver is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

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


def test_after_days_in_which_nothing_was_sent_the_tries_are_not_spent_at_once() -> None:
    moment = FIRST + timedelta(days=3)
    for tries in range(1, retries.MOST_TRIES):
        due = retries.next_try(FIRST, tries, moment, None)
        assert due == moment + retries.rest(tries, None)
        moment = due
    assert moment > FIRST + timedelta(days=3, minutes=20)


def test_a_receiver_that_fails_is_left_alone_for_longer_each_time() -> None:
    rests = [retries.rest(number, None).total_seconds() for number in range(1, 9)]
    assert rests == [5, 10, 20, 40, 80, 160, 300, 300]
    assert retries.rest(10**6, None) == timedelta(minutes=5)
    assert retries.rest(1, timedelta(hours=1)) == timedelta(hours=1)
