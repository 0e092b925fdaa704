"""How many requests a Cliniko user has left."""

from collections import deque
from threading import Lock


class Allowance:
    """A moving window: so many requests within any run of so many seconds. The refused are free."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque()
        self._lock = Lock()

    def take(self, limit: int, *, window_s: float, now: float) -> float | None:
        """Take one request at `now`; return None, or the time from which there is room again.

        Times are seconds of one clock. A limit of 0 is none.
        """
        with self._lock:
            while self._taken and self._taken[0] <= now - window_s:
                self._taken.popleft()
            if 0 < limit <= len(self._taken):
                return self._taken[-limit] + window_s
            self._taken.append(now)
            return None
