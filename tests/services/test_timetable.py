"""The moments of a schedule, over the clock changes of a year and over any year."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.services import time_zones
from webapp.services.timetable import LONGEST_NIGHT, NIGHTLY_SPREAD, Run, Timetable

# What the clocks of each zone do in 2026: the night, the time that was chosen, and the first moment
# on that night when a clock shows it, or the first that exists behind it. Clinic 0 has the first
# place of all, so its run is that very moment.
CLOCK_CHANGES = """
Australia/Sydney      2026-04-05  02:30  2026-04-05 02:30 AEDT  comes twice: the first
Australia/Sydney      2026-10-04  02:30  2026-10-04 03:00 AEDT  does not exist
Australia/Sydney      2026-10-04  02:00  2026-10-04 03:00 AEDT  does not exist
Australia/Sydney      2026-10-04  03:00  2026-10-04 03:00 AEDT  an ordinary time that night
Europe/London         2026-03-29  01:30  2026-03-29 02:00 BST   does not exist
Europe/London         2026-10-25  01:30  2026-10-25 01:30 BST   comes twice: the first
America/New_York      2026-03-08  02:30  2026-03-08 03:00 EDT   does not exist
America/New_York      2026-11-01  01:30  2026-11-01 01:30 EDT   comes twice: the first
Pacific/Auckland      2026-04-05  02:30  2026-04-05 02:30 NZDT  comes twice: the first
Pacific/Auckland      2026-09-27  02:30  2026-09-27 03:00 NZDT  does not exist
Australia/Lord_Howe   2026-04-05  01:45  2026-04-05 01:45 +11   half an hour comes twice: the first
Australia/Lord_Howe   2026-10-04  02:15  2026-10-04 02:30 +11   half an hour does not exist
Australia/Lord_Howe   2026-10-04  02:30  2026-10-04 02:30 +11   an ordinary time that night
Asia/Kolkata          2026-03-29  02:30  2026-03-29 02:30 IST   no clock changes
America/Nuuk          2026-03-28  23:30  2026-03-29 00:00 -01   does not exist: the next day begins
""".strip().splitlines()


def nightly(zone: str, at: time, clinic_id: int = 0) -> Timetable:
    return Timetable(clinic_id, None, at, zone)


def shown(moment: datetime | None, zone: str) -> str:
    assert moment is not None
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"


@pytest.mark.parametrize("line", CLOCK_CHANGES, ids=lambda line: " ".join(line.split()[:3]))
def test_a_night_when_the_clock_changes_has_one_run(line: str) -> None:
    zone, night, at, *expected = line.split()[:6]
    table = nightly(zone, time.fromisoformat(at))
    evening = datetime.combine(date.fromisoformat(night), time(), ZoneInfo(zone))
    before = evening - timedelta(minutes=1)

    first = table.next_full(before)
    assert first is not None
    second = table.next_full(first)

    assert shown(first, zone) == " ".join(expected)
    following = date.fromisoformat(night) + timedelta(days=1)
    assert shown(second, zone)[:16] == f"{following} {at}"


def test_the_interval_for_changes_knows_of_no_clock() -> None:
    sydney = Timetable(7, 60, None, "Australia/Sydney")
    before = datetime(2026, 4, 4, tzinfo=UTC)  # the clocks go back at 16:00 UTC

    runs = sydney.next_runs(before, 48)

    assert {later.at - earlier.at for earlier, later in pairwise(runs)} == {timedelta(hours=1)}


def test_without_a_time_zone_there_are_changes_but_no_nights() -> None:
    runs = Timetable(1, 15, time(2), None).next_runs(datetime(2026, 1, 1, tzinfo=UTC), 200)
    assert len(runs) == 200
    assert not any(run.full for run in runs)


def test_a_schedule_that_is_off_has_no_runs() -> None:
    off = Timetable(1, None, None, "Europe/London")
    assert off.next_runs(datetime(2026, 1, 1, tzinfo=UTC), 3) == []
    assert off.longest_gap is None


@pytest.mark.parametrize(
    ("every", "at", "window"),
    [(None, time(2), NIGHTLY_SPREAD), (60, None, timedelta(hours=1))],
)
def test_a_thousand_clinics_do_not_start_in_one_second(
    every: int | None, at: time | None, window: timedelta
) -> None:
    after = datetime(2026, 6, 1, 1, tzinfo=UTC) - timedelta(seconds=1)  # two o'clock in London
    tables = [Timetable(clinic, every, at, "Europe/London") for clinic in range(1, 1001)]
    moments = [table.next_runs(after, 1)[0].at for table in tables]

    assert max(moments) - min(moments) < window
    assert max(Counter(moments).values()) <= 3
    tenths = Counter((moment - after) // (window / 10) for moment in moments)
    assert len(tenths) in (10, 11)
    assert max(tenths.values()) <= 110


timetables = st.builds(
    Timetable,
    st.integers(1, 2**40),
    st.none() | st.sampled_from((15, 30, 60, 120, 240, 480)),
    st.none() | st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.none() | st.sampled_from(time_zones.choices()),
)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


@given(timetables, moments)
def test_runs_follow_each_other_and_never_return(table: Timetable, after: datetime) -> None:
    runs = table.next_runs(after, 40)
    assert all(earlier < later for earlier, later in pairwise([after, *(run.at for run in runs)]))
    assert runs[1:] == list(islice(table.runs(runs[0].at), 39)) if runs else True


@given(timetables, moments)
def test_no_run_lies_further_ahead_than_a_right_one_can(table: Timetable, after: datetime) -> None:
    changes, night = table.next_changes(after), table.next_full(after)
    assert changes is None or changes - after <= timedelta(minutes=table.changes_every or 0)
    assert night is None or night - after <= LONGEST_NIGHT


@given(timetables, moments, st.integers(0, 100_000))
def test_a_look_that_comes_late_finds_the_run_that_comes_next(
    table: Timetable, after: datetime, late: int
) -> None:
    """However long nobody looked: between the look and its next run there is no other run."""
    look = after + timedelta(seconds=late)
    runs = [run for run in islice(table.runs(after), 500) if run.at > look][:1]
    assert runs == table.next_runs(look, 1) or not runs


@given(
    st.integers(1, 2**40),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.sampled_from(time_zones.choices()),
    st.dates(date(2000, 1, 2), date(2036, 12, 1)),
)
def test_every_day_of_a_clinic_has_one_night(clinic: int, at: time, zone: str, day: date) -> None:
    """A day that a zone leaves out, as Samoa did with 30 December 2011, has none of its own."""
    table, place = Timetable(clinic, None, at, zone), ZoneInfo(zone)
    days = [day + timedelta(days=n) for n in range(30)]
    starts = [datetime.combine(each, time(), place).astimezone(UTC) for each in days]
    runs = list(islice(table.runs(starts[0] - timedelta(days=1)), 40))
    offset = place_of(table, zone)

    found = [[run for run in runs if belongs(run, offset, each, at, place)] for each in days]

    there = [each for each in days if exists(each, place)]
    assert all(len(found[days.index(each)]) == 1 for each in there)


def place_of(table: Timetable, zone: str) -> timedelta:
    """How far behind the chosen time the clinic's place lies."""
    plain = datetime(2026, 6, 15, tzinfo=ZoneInfo(zone))
    first = Timetable(0, None, table.full_at, zone).next_full(plain)
    own = table.next_full(plain)
    assert first is not None
    assert own is not None
    return (own - first) % timedelta(days=1)


def belongs(run: Run, offset: timedelta, day: date, at: time, zone: ZoneInfo) -> bool:
    """Whether a run is that day's: its clock shows the time, or the clock has just jumped over."""
    clock = (run.at - offset).astimezone(zone).replace(tzinfo=None)
    wanted = datetime.combine(day, at)
    if clock == wanted:
        return True
    jumped = run.at - offset - timedelta(minutes=1)
    return jumped.astimezone(zone).replace(tzinfo=None) < wanted < clock


def exists(day: date, zone: ZoneInfo) -> bool:
    noon = datetime.combine(day, time(12), zone)
    return noon.astimezone(UTC).astimezone(zone).date() == day
