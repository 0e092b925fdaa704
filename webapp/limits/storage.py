"""Where limits on callers are counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

import structlog
from limits.storage import MemoryStorage, RedisStorage
from redis import ConnectionPool
from redis.exceptions import RedisError

log = structlog.get_logger()
T = TypeVar("T")

# How long a Redis that failed is left alone: one that hangs must not hold up every request.
PAUSE_SECONDS = 5.0


class LimitStorage(RedisStorage):
    """Counts in Redis, for all processes together; while it is away, in this process alone.

    So nobody goes uncounted, nobody is refused because of Redis, and nobody waits for it.
    """

    STORAGE_SCHEME = ["redis-or-memory"]  # noqa: RUF012  (declared like this in the library)

    def __init__(self, _uri: str, *, connection_pool: ConnectionPool) -> None:
        super().__init__("redis://", connection_pool=connection_pool)
        self._memory = MemoryStorage()
        # Two threads at once in there may start its timer twice, which raises RuntimeError.
        self._alone = Lock()
        self._away_until = 0.0

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return self._ask(
            lambda: super(LimitStorage, self).acquire_entry(key, limit, expiry, amount),
            lambda: self._memory.acquire_entry(key, limit, expiry, amount),
        )

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        return self._ask(
            lambda: super(LimitStorage, self).get_moving_window(key, limit, expiry),
            lambda: self._memory.get_moving_window(key, limit, expiry),
        )

    def clear(self, key: str) -> None:
        self._ask(
            lambda: super(LimitStorage, self).clear(key),
            lambda: self._memory.clear(key),
        )

    def _ask(self, redis: Callable[[], T], memory: Callable[[], T]) -> T:
        if time.monotonic() >= self._away_until:
            try:
                return redis()
            except RedisError:
                log.warning("limits_counted_in_memory")
                self._away_until = time.monotonic() + PAUSE_SECONDS
        with self._alone:
            return memory()
