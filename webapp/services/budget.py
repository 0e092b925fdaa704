"""The request budget of one Cliniko user, shared by all workers and web processes through Redis.

Cliniko allows each user 200 requests a minute, however many keys or machines ask. A moving window
is safe however Cliniko counts its minute; a fixed pace would make every small sync wait in vain.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from math import ceil

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis
from redis.exceptions import RedisError

# A sync leaves room for a connection test of two requests every six seconds, as often as the API
# lets one person press, so that a person never waits for a worker.
KEPT_FOR_TESTS = 20
_TEST_REQUESTS = 2
_TEST_EVERY = 6.0

# Cliniko stamps a request when it arrives, we when it leaves: a window a little longer than its
# minute keeps requests that were delayed on the way from falling together there.
WINDOW_SECONDS = 61

_SHORTEST_WAIT = 0.05


class _Window(RateLimitItemPerMinute):
    """So many requests in any window of 61 seconds; whoever may use up less of it counts in the
    same place."""

    def get_expiry(self) -> int:
        return WINDOW_SECONDS

    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        return "/".join([self.namespace, "cliniko", *map(str, identifiers)])


class _Storage(RedisStorage):
    """Loads no client of another server beside redis-py: three megabytes in each worker."""

    DEPENDENCIES = {"redis": RedisStorage.DEPENDENCIES["redis"]}  # noqa: RUF012 (the base's own form)


class SharedBudget:
    """What is left of a Cliniko user's minute. Fulfils `webapp.cliniko.throttle.Budget`.

    While Redis is away the count goes on in this process alone: slower help is better than none.
    """

    def __init__(self, redis: Redis, api_key: str, *, per_minute: int, keep: int = 0) -> None:
        """`keep` requests at most are left to others: fewer, the sooner the window frees some."""
        # The key without its shard opens the same account; the digest keeps it out of Redis.
        user = hashlib.sha256(api_key.rpartition("-")[0].encode() or api_key.encode()).hexdigest()[
            :24
        ]
        self.per_minute = per_minute
        self._redis = redis
        self._user = user
        self._hold_key = f"cliniko:hold:{user}"
        self._keep = min(keep, per_minute - 1)
        self._window = _Window(per_minute)
        self._memory = MovingWindowRateLimiter(MemoryStorage())
        self._held_until = 0.0
        storage = _Storage("redis://", connection_pool=redis.connection_pool)
        self._shared = MovingWindowRateLimiter(storage)

    def acquire(self) -> float:
        """0.0 if a request may go now (and is counted), else the seconds until to ask again."""
        held = self._seconds_held()
        if held > 0:
            return held
        try:
            return self._take(self._shared)
        except RedisError:
            return self._take(self._memory)

    def hold(self, seconds: float) -> None:
        """Nobody with this key asks Cliniko for so many seconds: it said so itself."""
        self._held_until = time.monotonic() + seconds
        with suppress(RedisError):
            self._redis.set(self._hold_key, "1", px=max(1, int(seconds * 1000)))

    def left(self) -> int:
        """Requests that may still go in this minute without waiting."""
        try:
            remaining, until_freed = self._standing(self._shared)
        except RedisError:
            remaining, until_freed = self._standing(self._memory)
        return max(0, remaining - self._kept(until_freed))

    def _seconds_held(self) -> float:
        own = self._held_until - time.monotonic()
        try:
            shared = self._redis.pttl(self._hold_key) / 1000
        except RedisError:
            shared = 0.0
        return max(own, shared, 0.0)

    def _kept(self, until_freed: float) -> int:
        """What is left to others when the oldest request leaves the window in so many seconds."""
        return min(self._keep, _TEST_REQUESTS * max(1, ceil(until_freed / _TEST_EVERY)))

    def _take(self, limiter: MovingWindowRateLimiter) -> float:
        remaining, until_freed = self._standing(limiter)
        kept = self._kept(until_freed)
        if remaining > kept:
            # The hit is atomic, and counts the kept ones as used: no two askers slip in together.
            taken = limiter.hit(_Window(self.per_minute - kept), self._user)
            return 0.0 if taken else _SHORTEST_WAIT
        # Fewer have to be kept by and by: ask again when one of them is free.
        tests = max(0, remaining - 1) // _TEST_REQUESTS if self._keep else 0
        return max(_SHORTEST_WAIT, until_freed - tests * _TEST_EVERY)

    def _standing(self, limiter: MovingWindowRateLimiter) -> tuple[int, float]:
        """Requests not used up, and the seconds until the oldest one leaves the window."""
        stats = limiter.get_window_stats(self._window, self._user)
        return stats.remaining, stats.reset_time - time.time()
