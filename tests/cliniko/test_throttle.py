"""How long to wait: what Cliniko says, within reason, and otherwise a patience that grows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from webapp.cliniko.throttle import (
    FOR_PEOPLE,
    FOR_SYNCS,
    SleepingWaiter,
    WaitReason,
    backoff,
    rate_limit_backoff,
    wait_asked,
)
from webapp.outbound.http_times import date_of

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
STAMP = int(NOW.timestamp())
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"
NONSENSE = ["soon", "-5", "", " ", "1e3", "NaN", "\u0661\u0662", "9" * 40, "0x10", "1,000"]


def asked(**headers: str) -> float | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return wait_asked(CaseInsensitiveDict(named), now=NOW)


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        (STAMP + 20, 20),
        (STAMP + 120, 120),
        (STAMP + 121, 120),
        (STAMP, 1),
        (STAMP - 3600, 1),
        (0, 1),
        (4_070_908_800, 120),  # in the year 2099
        (STAMP * 1000, 120),  # milliseconds
    ],
)
def test_it_waits_until_the_reset_within_reason(reset: int, seconds: float) -> None:
    assert asked(X_RateLimit_Reset=str(reset)) == seconds
    assert asked(X_RateLimit_Reset=f" {reset} ", Date=DATE) == seconds


@pytest.mark.parametrize("fast_by", [-7200, -45, 45, 7200])
def test_the_reset_is_read_by_cliniko_s_clock_and_not_by_ours(fast_by: int) -> None:
    theirs = STAMP + fast_by
    date = format_datetime(datetime.fromtimestamp(theirs, UTC), usegmt=True)

    assert asked(X_RateLimit_Reset=str(theirs + 20), Date=date) == 20


@pytest.mark.parametrize("date", ["yesterday", "", "Sun, 01 Mar 99999999999999999999 12:00:00 GMT"])
def test_without_a_date_of_theirs_our_clock_must_do(date: str) -> None:
    assert asked(X_RateLimit_Reset=str(STAMP + 20), Date=date) == 20


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("30", 30),
        ("0", 1),
        ("86400", 120),
        ("Sun, 01 Mar 2026 12:00:40 GMT", 40),
        ("Sun, 01 Mar 2026 13:00:40 +0100", 40),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 1),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 120),
    ],
)
def test_it_takes_retry_after_as_seconds_or_as_a_date(retry_after: str, seconds: float) -> None:
    assert asked(Retry_After=retry_after) == seconds


def test_the_reset_comes_before_retry_after() -> None:
    assert asked(X_RateLimit_Reset=str(STAMP + 20), Retry_After="90") == 20


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_counts_as_nothing_said(text: str) -> None:
    assert asked(X_RateLimit_Reset=text) is None
    assert asked(Retry_After=text) is None
    assert asked(X_RateLimit_Reset=text, Retry_After="30") == 30


def test_without_a_word_of_cliniko_nothing_is_asked() -> None:
    assert asked() is None


@given(reset=st.text(max_size=30), retry_after=st.text(max_size=60), date=st.text(max_size=60))
def test_no_header_can_break_it_or_make_it_wait_for_ever(
    reset: str, retry_after: str, date: str
) -> None:
    seconds = asked(X_RateLimit_Reset=reset, Retry_After=retry_after, Date=date)

    assert seconds is None or 1 <= seconds <= 120


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        (DATE, NOW),
        ("Sun, 01 Mar 2026 13:00:00 +0100", NOW),
        ("Sun, 01 Mar 2026 12:00:00", None),
        ("Sun, 01 Mar 2026 12:00:00 +99999999999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 -1200", None),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
    ],
)
def test_the_date_of_an_answer_is_in_utc_or_unknown(date: str, moment: datetime | None) -> None:
    found = date_of(CaseInsensitiveDict({"Date": date}))

    assert found == moment
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize("attempt", range(8))
def test_patience_doubles_up_to_sixteen_seconds(attempt: int) -> None:
    middle = [1, 2, 4, 8, 16, 16, 16, 16][attempt]

    waits = [backoff(attempt) for _ in range(200)]

    assert all(0.8 * middle <= wait <= 1.2 * middle for wait in waits)
    assert len(set(waits)) > 1  # or all workers would come back together


@pytest.mark.parametrize("attempt", range(8))
def test_a_refusal_without_a_word_is_waited_out_longer_each_time(attempt: int) -> None:
    middle = [5, 10, 20, 40, 60, 60, 60, 60][attempt]

    waits = [rate_limit_backoff(attempt) for _ in range(200)]

    assert all(0.9 * middle <= wait <= 1.1 * middle for wait in waits)
    assert len(set(waits)) > 1


def test_a_sync_is_patient_and_a_connection_test_is_not() -> None:
    assert (FOR_SYNCS.tries, FOR_SYNCS.bad_response_tries, FOR_SYNCS.wait_limit) == (5, 3, 600)
    assert (FOR_SYNCS.connect_timeout, FOR_SYNCS.read_timeout, FOR_SYNCS.total_timeout) == (
        5,
        35,
        40,
    )
    assert (FOR_PEOPLE.tries, FOR_PEOPLE.bad_response_tries, FOR_PEOPLE.wait_limit) == (1, 1, 0)
    assert FOR_PEOPLE.total_timeout == 5


def test_a_sleeping_waiter_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    SleepingWaiter().wait(2.5, WaitReason.RETRY)

    assert slept == [2.5]
