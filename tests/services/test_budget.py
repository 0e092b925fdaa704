"""The requests of one Cliniko user, shared by everybody who uses the key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from redis import Redis

from webapp.cliniko.throttle import LONGEST_WAIT
from webapp.queue import web_connection
from webapp.services.budget import KEPT_FOR_TESTS, WINDOW_SECONDS, SharedBudget

KEY = "onekey-au1"
MOMENT = datetime(2026, 3, 2, 9, tzinfo=UTC)
AHEAD = timedelta(hours=11)


def budget(redis_url: str, **options: int) -> SharedBudget:
    return SharedBudget(web_connection(redis_url), KEY, **({"per_minute": 10} | options))


def take_all(sync: SharedBudget) -> int:
    """How many requests go until one would have to wait."""
    taken = 0
    while sync.acquire() == 0.0:
        taken += 1
    return taken


def test_so_many_requests_go_and_no_more(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    one, other = budget(redis_url), budget(redis_url)

    assert [b.acquire() for b in (one, other) * 5] == [0.0] * 10
    assert 55 < one.acquire() <= 61
    assert other.left() == 0


def test_simultaneous_askers_do_not_slip_through_together(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()

    def ask(_: int) -> float:
        return budget(redis_url).acquire()

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(60))).count(0.0) == 10


def test_a_sync_leaves_some_requests_to_connection_tests(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    sync, test = budget(redis_url, keep=5), budget(redis_url)

    assert [sync.acquire() for _ in range(5)] == [0.0] * 5
    assert sync.acquire() > 0
    assert test.acquire() == 0.0


def test_whoever_presses_every_six_seconds_is_answered_whatever_syncs_take(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    sync = budget(redis_url, per_minute=200, keep=KEPT_FOR_TESTS)
    test = budget(redis_url, per_minute=200)

    with time_machine.travel(MOMENT, tick=False) as clock:
        for second in range(4 * WINDOW_SECONDS):
            take_all(sync)
            if second % 6 == 5:
                assert [test.acquire(), test.acquire()] == [0.0, 0.0]
            clock.shift(1)


def test_what_nobody_presses_for_is_not_lost_to_a_sync(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    sync = budget(redis_url, per_minute=200, keep=KEPT_FOR_TESTS)

    with time_machine.travel(MOMENT, tick=False) as clock:
        taken = 0
        for _ in range(4 * WINDOW_SECONDS):
            taken += take_all(sync)
            clock.shift(1)
    assert 4 * 198 <= taken <= 4 * 200


def test_a_sync_asks_again_when_fewer_are_kept(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    sync = budget(redis_url, per_minute=200, keep=KEPT_FOR_TESTS)

    with time_machine.travel(MOMENT, tick=False) as clock:
        assert take_all(sync) == 180
        clock.shift(sync.acquire())
        assert take_all(sync) > 0


def test_a_machine_whose_clock_is_behind_waits_no_longer_than_others(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    ahead, behind = budget(redis_url), budget(redis_url)

    with time_machine.travel(MOMENT, tick=False) as clock:
        assert take_all(ahead) == 10
        clock.shift(-600)
        assert 55 < behind.acquire() <= WINDOW_SECONDS


def set_back(redis: Redis, by: timedelta) -> None:
    """As if the clock of Redis were set back: what it is to forget lies so much further ahead."""
    for key in list(redis.scan_iter("cliniko:*")):
        redis.pexpire(key, redis.pttl(key) + int(by.total_seconds() * 1000))


@pytest.mark.parametrize("before", [10, 9])
def test_a_clock_that_is_set_back_makes_nobody_wait_for_as_long_as_it_ran_ahead(
    before: int, redis_url: str
) -> None:
    redis = Redis.from_url(redis_url)
    redis.flushdb()
    sync = budget(redis_url)
    with time_machine.travel(MOMENT, tick=False) as clock:
        assert [sync.acquire() for _ in range(before)] == [0.0] * before
        clock.shift(-AHEAD)
        set_back(redis, AHEAD)

        assert take_all(sync) == 10 - before
        assert 0 < sync.acquire() <= WINDOW_SECONDS

    (requests,) = redis.scan_iter("cliniko:requests:*")
    # A whole window from the last request on at least: Cliniko has counted that, too.
    assert (WINDOW_SECONDS - 5) * 1000 < redis.pttl(requests) <= WINDOW_SECONDS * 1000


def test_who_asks_again_and_again_puts_nothing_off(redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    redis.flushdb()
    sync = budget(redis_url)
    take_all(sync)
    (requests,) = redis.scan_iter("cliniko:requests:*")
    redis.pexpire(requests, 30_000)

    assert sync.acquire() > 0

    assert redis.pttl(requests) <= 30_000


def test_no_hold_outlasts_the_longest_wait_because_a_clock_was_set_back(redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    redis.flushdb()
    one, other = budget(redis_url), budget(redis_url)
    one.hold(LONGEST_WAIT)
    assert LONGEST_WAIT - 5 < other.acquire() <= LONGEST_WAIT
    set_back(redis, AHEAD)

    assert LONGEST_WAIT - 5 < other.acquire() <= LONGEST_WAIT

    (hold,) = redis.scan_iter("cliniko:hold:*")
    assert redis.pttl(hold) <= LONGEST_WAIT * 1000


def test_the_key_with_and_without_its_shard_is_one_user(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    whole = SharedBudget(web_connection(redis_url), "onekey", per_minute=1)

    assert budget(redis_url, per_minute=1).acquire() == 0.0
    assert whole.acquire() > 0


def test_a_refusal_by_cliniko_holds_everybody(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    one, other = budget(redis_url), budget(redis_url)
    one.hold(20)

    assert 15 < other.acquire() <= 20
    assert 15 < one.acquire() <= 20


def test_of_two_refusals_the_longer_one_counts(redis_url: str) -> None:
    Redis.from_url(redis_url).flushdb()
    one, other = budget(redis_url), budget(redis_url)
    one.hold(20)
    one.hold(1)
    other.hold(2)

    third = budget(redis_url)
    assert [15 < each.acquire() <= 20 for each in (one, third)] == [True, True]


def test_the_count_goes_on_without_redis() -> None:
    alone = budget("redis://127.0.0.1:1", per_minute=3)

    assert [alone.acquire() for _ in range(3)] == [0.0] * 3
    assert alone.acquire() > 0


def test_the_key_itself_never_reaches_redis(redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    redis.flushdb()
    shared = budget(redis_url)
    shared.acquire()
    shared.hold(20)

    assert not [name for name in redis.scan_iter() if b"onekey" in name]
