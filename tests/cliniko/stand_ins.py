"""What the client is handed in these tests: a budget and a waiter that write down what they see."""

from __future__ import annotations

import base64

from config import CLINIKO_API_URL
from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.throttle import FOR_SYNCS, RetryPolicy, WaitReason

KEY = "MS0xLWludmVudGVkLWZvci10ZXN0cw-au2"
BASE = "https://api.au2.cliniko.com/v1"
BASIC = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()

EMPTY_PAGE = b'{"patients": [], "total_entries": 0, "links": {}}'

# Short, for the tests' sake; how long the real ones are is checked with the policies.
ONE_TRY = RetryPolicy(tries=1, bad_response_tries=1, total_timeout=0.5, read_timeout=30)
ONE_LONG_TRY = RetryPolicy(tries=1, bad_response_tries=1)
SOON = 10  # seconds: far more than the deadline, far less than the drip or the silence would take


class NotingWaiter:
    """Waits for nothing, and remembers what it was asked to wait for."""

    def __init__(self) -> None:
        self.waits: list[tuple[WaitReason, float]] = []

    def wait(self, seconds: float, reason: WaitReason) -> None:
        self.waits.append((reason, seconds))

    def seconds(self, reason: WaitReason) -> list[float]:
        """How long it was asked to wait for this reason, in order."""
        return [seconds for why, seconds in self.waits if why is reason]


class NotingBudget:
    """Says the given waits first and then always "now"; remembers what it was asked to hold."""

    def __init__(self, *waits: float) -> None:
        self._waits = list(waits)
        self.granted = 0
        self.held: list[float] = []

    def acquire(self) -> float:
        if self._waits:
            return self._waits.pop(0)
        self.granted += 1
        return 0.0

    def hold(self, seconds: float) -> None:
        self.held.append(seconds)


class UnlimitedBudget:
    """A budget that never ends."""

    def acquire(self) -> float:
        return 0.0

    def hold(self, seconds: float) -> None:
        pass


class Watched:
    """A client together with what it was handed."""

    def __init__(
        self,
        *,
        api_url: str = CLINIKO_API_URL,
        policy: RetryPolicy = FOR_SYNCS,
        budget: NotingBudget | None = None,
    ) -> None:
        self.waiter = NotingWaiter()
        self.budget = budget or NotingBudget()
        self.client = Cliniko(
            KEY,
            contact_email="sync@example.com",
            budget=self.budget,
            waiter=self.waiter,
            api_url=api_url,
            policy=policy,
        )


def page_from(url: str, policy: RetryPolicy = ONE_LONG_TRY) -> None:
    with Watched(api_url=url, policy=policy).client as client:
        client.get_page(Listing.ACTIVE)
