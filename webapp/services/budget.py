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

from webapp.cliniko.shard import without_shard
from webapp.cliniko.throttle import LONGEST_WAIT

# A sync leaves room for a connection test of two requests every six seconds, as often as the API
# lets one person press, so that a person never waits for a worker.
KEPT_FOR_TESTS = 20
_TEST_REQUESTS = 2
_TEST_EVERY = 6.0
_REFRESH_AFTER_SECONDS = 1.0

# Cliniko stamps a request when it arrives, we when it leaves: a window a little longer than its
# minute keeps requests that were delayed on the way from falling together there.
WINDOW_SECONDS = 61


# The times of the last requests, newest first. One step there and back, for a sync asks before each
# of its requests. Who asks gives the time, which never goes back: a machine whose clock is behind
# would have to wait for it. `kept` is what is left to others until the oldest request leaves the
# window: fewer, the sooner it does.
# Redis forgets at a moment, not after so long: where its clock was set back, both keys would stay,
# and the newest time stand still, for as long as it ran ahead. What is a window old counts no more,
# and no hold is longer than the longest.
_SCRIPT = """
local held, longest = redis.call('PTTL', KEYS[2]), tonumber(ARGV[8])
if held > longest then
    redis.call('PEXPIRE', KEYS[2], longest)
    held = longest
end
local moment, window = ARGV[2], tonumber(ARGV[3])
local most, keep = tonumber(ARGV[4]), tonumber(ARGV[5])
local requests, every = tonumber(ARGV[6]), tonumber(ARGV[7])

local times = redis.call('LRANGE', KEYS[1], 0, -1)
local used = #times
if used > 0 and tonumber(times[1]) > tonumber(moment) then moment = times[1] end
local now = tonumber(moment)
while used > 0 and now - times[used] >= window do used = used - 1 end
local until_freed = 0
if used > 0 then until_freed = window - (now - times[used]) end
local free = most - used
local kept = math.min(keep, requests * math.max(1, math.ceil(until_freed / every)))

if ARGV[1] == 'left' then return tostring(math.max(0, free - kept)) end
if held > 0 then return tostring(held / 1000) end
if free > kept then
    redis.call('LPUSH', KEYS[1], moment)
    redis.call('LTRIM', KEYS[1], 0, used)
    redis.call('EXPIRE', KEYS[1], math.ceil(window))
    return '0'
end
local whole = math.ceil(window) * 1000
if redis.call('PTTL', KEYS[1]) > whole then redis.call('PEXPIRE', KEYS[1], whole) end
local tests = 0
if keep > 0 then tests = math.floor(math.max(0, free - 1) / requests) end
return tostring(math.max(0.05, until_freed - tests * every))
"""

# Of several requests under way each may be refused for another time: the longest counts.
_HOLD = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
"""


class _Alone:
    """So many requests in any window of 61 seconds, counted in this process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: deque[float] = deque(maxlen=limit)
        self._lock = Lock()

    def acquire(self) -> float:
        with self._lock:
            moment = time.monotonic()
            if len(self._times) == self._limit and moment - self._times[0] < WINDOW_SECONDS:
                return WINDOW_SECONDS - (moment - self._times[0])
            self._times.append(moment)
            return 0.0

    def left(self) -> int:
        with self._lock:
            since = time.monotonic() - WINDOW_SECONDS
            return self._limit - sum(at > since for at in self._times)


class SharedBudget:
    """What is left of a Cliniko user's minute. Fulfils `webapp.cliniko.throttle.Budget`.

    While Redis is away the count goes on in this process alone: slower help is better than none.
    """

    def __init__(self, redis: Redis, api_key: str, *, per_minute: int, keep: int = 0) -> None:
        """`keep` requests at most are left to others: fewer, the sooner the window frees some."""
        # The key without its shard opens the same account; the digest keeps it out of Redis.
        user = hashlib.sha256(without_shard(api_key).encode()).hexdigest()[:24]
        self.per_minute = per_minute
        self._redis = redis
        self._keys = [f"cliniko:requests:{user}", f"cliniko:hold:{user}"]
        self._keep = min(keep, per_minute - 1)
        self._script = redis.register_script(_SCRIPT)
        self._hold = redis.register_script(_HOLD)
        self._alone = _Alone(per_minute - self._keep)
        self._held_until = 0.0
        self.seen_left = per_minute - self._keep  # when `refresh` asked last
        self._refreshed_at = 0.0

    def acquire(self) -> float:
        """0.0 if a request may go now (and is counted), else the seconds until to ask again."""
        held = self._held_until - time.monotonic()
        if held > 0:
            return held
        try:
            return self._ask("take")
        except RedisError:
            return self._alone.acquire()

    def hold(self, seconds: float) -> None:
        """Nobody with this key asks Cliniko for so many seconds: it said so itself."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)
        with suppress(RedisError):
            self._hold(self._keys[1:], [max(1, int(seconds * 1000))])

    def left(self) -> int:
        """Requests that may still go in this minute without waiting."""
        try:
            return int(self._ask("left"))
        except RedisError:
            return self._alone.left()

    def refresh(self) -> None:
        """See what is left, at most once a second; `seen_left` tells it."""
        if time.monotonic() - self._refreshed_at >= _REFRESH_AFTER_SECONDS:
            self.seen_left, self._refreshed_at = self.left(), time.monotonic()

    def _ask(self, what: str) -> float:
        left_to_others = [self._keep, _TEST_REQUESTS, _TEST_EVERY]
        rule = [WINDOW_SECONDS, self.per_minute, *left_to_others, LONGEST_WAIT * 1000]
        return float(self._script(self._keys, [what, time.time(), *rule]))
