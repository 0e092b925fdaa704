"""The request budget of one Cliniko user, shared by all workers and web processes through Redis.

Cliniko allows each user 200 requests a minute, however many keys or machines ask. A moving window
is safe however Cliniko counts its minute; a fixed pace would make every small sync wait in vain.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from contextlib import suppress
from threading import Lock

from redis import Redis
from redis.exceptions import RedisError

# Requests that a sync leaves to connection tests, so that a person never waits for a worker.
KEPT_FOR_TESTS = 5

# Cliniko stamps a request when it arrives, we when it leaves: a window a little longer than its
# minute keeps requests that were delayed on the way from falling together there.
WINDOW_SECONDS = 61


# The times of the last requests, newest first, by the clock of Redis. One step there and back: a
# sync asks before each of its requests.
_ACQUIRE = """
local held = redis.call('PTTL', KEYS[2])
if held > 0 then return held end
local limit, most, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local earliest = redis.call('LINDEX', KEYS[1], limit - 1)
if earliest and now - earliest < window then return window - (now - earliest) end
redis.call('LPUSH', KEYS[1], now)
redis.call('LTRIM', KEYS[1], 0, most - 1)
redis.call('PEXPIRE', KEYS[1], window)
return 0
"""
_USED = """
local clock = redis.call('TIME')
local since = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(ARGV[1])
local used = 0
for _, at in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if tonumber(at) > since then used = used + 1 end
end
return used
"""


class _Alone:
    """The same count in this process only."""

    def __init__(self, most: int) -> None:
        self._times: deque[float] = deque(maxlen=most)
        self._lock = Lock()

    def acquire(self, limit: int) -> float:
        with self._lock:
            moment = time.monotonic()
            if len(self._times) >= limit and moment - self._times[-limit] < WINDOW_SECONDS:
                return WINDOW_SECONDS - (moment - self._times[-limit])
            self._times.append(moment)
            return 0.0

    def used(self) -> int:
        with self._lock:
            since = time.monotonic() - WINDOW_SECONDS
            return sum(at > since for at in self._times)


class SharedBudget:
    """What is left of a Cliniko user's minute. Fulfils `webapp.cliniko.throttle.Budget`.

    While Redis is away the count goes on in this process alone: slower help is better than none.
    """

    def __init__(self, redis: Redis, api_key: str, *, per_minute: int, keep: int = 0) -> None:
        """`keep` requests of the minute are left to others."""
        # The key without its shard opens the same account; the digest keeps it out of Redis.
        user = hashlib.sha256(api_key.rpartition("-")[0].encode() or api_key.encode()).hexdigest()[
            :24
        ]
        self.per_minute = per_minute
        self._redis = redis
        self._keys = [f"cliniko:requests:{user}", f"cliniko:hold:{user}"]
        self._limit = max(1, per_minute - keep)
        self._acquire, self._used = redis.register_script(_ACQUIRE), redis.register_script(_USED)
        self._alone = _Alone(per_minute)
        self._held_until = 0.0

    def acquire(self) -> float:
        """0.0 if a request may go now (and is counted), else the seconds until to ask again."""
        held = self._held_until - time.monotonic()
        if held > 0:
            return held
        window = WINDOW_SECONDS * 1000
        try:
            wait = self._acquire(self._keys, [self._limit, self.per_minute, window])
        except RedisError:
            return self._alone.acquire(self._limit)
        return int(wait) / 1000

    def hold(self, seconds: float) -> None:
        """Nobody with this key asks Cliniko for so many seconds: it said so itself."""
        self._held_until = time.monotonic() + seconds
        with suppress(RedisError):
            self._redis.set(self._keys[1], "1", px=max(1, int(seconds * 1000)))

    def left(self) -> int:
        """Requests that may still go in this minute without waiting."""
        try:
            used = int(self._used(self._keys[:1], [WINDOW_SECONDS * 1000]))
        except RedisError:
            used = self._alone.used()
        return max(0, self._limit - used)
