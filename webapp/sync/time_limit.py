"""How long a sync may take."""

from __future__ import annotations

from datetime import datetime, timedelta

from webapp.clock import now
from webapp.models import SyncPhase
from webapp.services.budget import SharedBudget
from webapp.sync.progress import Progress

# A sync has this long, and as long again as Cliniko's limit forces it to wait.
TIME_LIMIT = timedelta(minutes=15)


class SyncTimeout(Exception):
    """The sync has taken longer than any sync may."""


class TimeLimit:
    """The time of one sync. `waited`: for how many seconds nobody has worked on it since it began.

    What it waits for a worker, behind the syncs of others, is no time of its own.
    """

    def __init__(self, started_at: datetime, waited: float, budget: SharedBudget) -> None:
        self._started_at = started_at
        self._waited = waited
        self._budget = budget

    def is_used(self, progress: Progress, share: float) -> bool:
        """Whether a sync that is so far has used up this share of it."""
        queued = progress.entered_after.get(SyncPhase.CONNECTING, 0)
        its_own = now() - self._started_at - timedelta(seconds=queued + self._waited)
        forced = timedelta(minutes=progress.total_pages / self._budget.per_minute)
        return its_own > share * (TIME_LIMIT + forced)

    def check(self, progress: Progress) -> None:
        """Raises SyncTimeout if it is over."""
        if self.is_used(progress, 1.0):
            raise SyncTimeout
