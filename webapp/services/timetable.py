"""When a clinic is to be synced by itself: the moments of its schedule. Pure.

Changes are read every so many minutes of absolute time, so a clock that is set forward or back
changes nothing. The full sync of each night stands at a time by the clinic's own clock: a time
that the clock jumps over is its next moment that exists, one that comes twice is the first of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import islice
from zoneinfo import ZoneInfo

# A thousand clinics that chose the same minute start within so long, each at a place of its own.
NIGHTLY_SPREAD = timedelta(minutes=10)

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
# How far ahead the next full sync lies at most: a day, and by what clocks are set back.
LONGEST_NIGHT = _DAY + timedelta(hours=3)
# Multiplied by this, numbers that follow each other lie far apart and evenly (Knuth, 6.4).
_KNUTH, _WORD = 2_654_435_761, 2**32


@dataclass(frozen=True)
class Run:
    """One moment of a schedule."""

    at: datetime
    full: bool


@dataclass(frozen=True)
class Timetable:
    """The schedule of one clinic: changes every so many minutes, a full sync at a time of day;
    None: never. Without a known time zone there are no nights."""

    clinic_id: int
    changes_every: int | None
    full_at: time | None
    time_zone: str | None

    def next_changes(self, after: datetime) -> datetime | None:
        """The first moment for reading changes behind that one."""
        if self.changes_every is None:
            return None
        period = self.changes_every * 60
        place = int(period * self._share)
        gone = (int(after.timestamp()) - place) // period
        return datetime.fromtimestamp((gone + 1) * period + place, UTC)

    def next_full(self, after: datetime) -> datetime | None:
        """The first moment for a full sync behind that one."""
        if self.full_at is None or self.time_zone is None:
            return None
        # A day's run may lie behind its midnight: by its place, or by a clock that was set forward.
        day = after.astimezone(self._zone).date() - _DAY
        while (moment := self._full_of(day, self.full_at)) <= after:
            day += _DAY
        return moment

    def runs(self, after: datetime) -> Iterator[Run]:
        """All that follow, in their order, without an end if there are any."""
        changes, full = self.next_changes(after), self.next_full(after)
        while changes or full:
            if full is not None and (changes is None or full <= changes):
                yield Run(full, full=True)
                after = full
            elif changes is not None:
                yield Run(changes, full=False)
                after = changes
            changes, full = self.next_changes(after), self.next_full(after)

    def next_runs(self, after: datetime, count: int) -> list[Run]:
        """The next few."""
        return list(islice(self.runs(after), count))

    @property
    def longest_gap(self) -> timedelta | None:
        """How far apart two runs lie at most, but for the hour of a clock change; None: no runs."""
        if self.changes_every is not None:
            return timedelta(minutes=self.changes_every)
        return None if self.full_at is None or self.time_zone is None else _DAY

    def _full_of(self, day: date, at: time) -> datetime:
        wanted = datetime.combine(day, at)
        while (moment := _moment(wanted, self._zone)) is None:
            wanted += _MINUTE
        return moment + timedelta(seconds=int(NIGHTLY_SPREAD.total_seconds() * self._share))

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone or "UTC")

    @property
    def _share(self) -> float:
        """The clinic's place between 0 and 1, always the same."""
        return self.clinic_id * _KNUTH % _WORD / _WORD


def _moment(wanted: datetime, zone: ZoneInfo) -> datetime | None:
    """When the clocks of a zone first show this; None if they never do."""
    moment = wanted.replace(tzinfo=zone).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == wanted else None
