"""The picture of a clinic's last syncs: a bar each, as high as the sync took long. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from webapp.models import SyncLog
from webapp.pages.filters import took
from webapp.pages.outcome import Outcome, outcome

HEIGHT = 100
_STEP = 20  # from one bar to the next
_WIDTH = 14
_LOWEST = 6.0  # so that the shortest sync can be seen


@dataclass(frozen=True)
class Bar:
    """One sync; lengths in the units of the picture."""

    x: int
    height: float
    outcome: Outcome
    words: str

    width: int = _WIDTH

    @property
    def y(self) -> float:
        return HEIGHT - self.height


@dataclass(frozen=True)
class Picture:
    """The bars from left to right, the newest last and always at the right edge."""

    bars: Sequence[Bar]
    width: int
    words: str

    height: int = HEIGHT


def picture(logs: Sequence[SyncLog], places: int) -> Picture:
    """The picture of these syncs, newest first, with room for so many."""
    shown = list(reversed(logs[:places]))
    seconds = [log.seconds_so_far for log in shown]
    longest = max(seconds, default=0.0) or 1.0
    first = places - len(shown)
    bars = [
        Bar(
            x=(first + nth) * _STEP,
            height=round(max(_LOWEST, HEIGHT * taken / longest), 1),
            outcome=outcome(log),
            words=f"#{log.id}: {_how(log)}",
        )
        for nth, (log, taken) in enumerate(zip(shown, seconds, strict=True))
    ]
    return Picture(bars, places * _STEP - (_STEP - _WIDTH), _words(shown))


def _words(shown: Sequence[SyncLog]) -> str:
    if not shown:
        return "No sync yet"
    if len(shown) == 1:
        return f"The only sync until now: {_how(shown[0])}."
    outcomes = Counter(map(outcome, shown))
    counted = ", ".join(f"{outcomes[each]} {each.words}" for each in Outcome if outcomes[each])
    ended = [log for log in shown if not log.is_running]
    longest = max(ended, key=lambda log: log.seconds_so_far, default=None)
    most = f" The longest took {took(longest)}." if longest else ""
    return f"The last {len(shown)} syncs: {counted}.{most}"


def _how(log: SyncLog) -> str:
    # The words stand still while the card counts on.
    words = outcome(log).words
    return words if log.is_running else f"{words}, {took(log)}"
