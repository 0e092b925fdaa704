"""Which clinics have fallen behind, and which zone Cliniko means."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
import time_machine

from tests.api.rows import make_log
from tests.cast import SURF_KEY, Cast
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, SyncStatus
from webapp.services import organizations, schedules, time_zones
from webapp.sync import suspension

HOUR = timedelta(hours=1)
ALLOWED = timedelta(minutes=45)  # where changes are read every 15 minutes


@pytest.mark.parametrize(
    ("changes", "full", "allowed"),
    [
        (15, None, timedelta(minutes=45)),
        (60, time(2), timedelta(hours=2, minutes=15)),
        (480, None, timedelta(hours=14, minutes=15)),
        (None, time(2), timedelta(hours=30, minutes=15)),
    ],
)
def test_a_clinic_is_overdue_when_more_than_one_run_is_missing(
    cast: Cast, changes: int | None, full: time | None, allowed: timedelta
) -> None:
    schedules.save(
        cast.surf, changes_every=changes, full_at=full, time_zone="Australia/Sydney", actor=None
    )
    saved = schedules.of(cast.surf)
    assert saved is not None
    since = saved.saved_at

    assert not schedules.overdue(cast.surf, since + allowed)
    assert schedules.overdue(cast.surf, since + allowed + timedelta(seconds=1))

    make_log(cast.surf, started_at=since + allowed)
    make_log(cast.surf, SyncStatus.FAILED, started_at=since + allowed * 2)
    assert not schedules.overdue(cast.surf, since + allowed * 2)
    assert schedules.overdue(cast.surf, since + allowed * 2 + timedelta(minutes=5))


@pytest.mark.parametrize(
    ("changes", "full", "zone", "begins_anew"),
    [
        ((60, 60), (time(2), time(2)), None, False),
        ((60, 60), (time(2), time(3)), "Europe/London", False),
        ((60, 120), (time(2), time(2)), None, True),
        ((None, None), (time(2), time(2)), None, False),
        ((None, None), (time(2), time(3)), None, True),
        ((None, None), (time(2), time(2)), "Europe/London", True),
        ((60, None), (time(2), time(2)), None, True),
    ],
)
def test_who_saves_a_schedule_ends_being_overdue_only_by_other_runs(
    cast: Cast,
    changes: tuple[int | None, int | None],
    full: tuple[time, time],
    zone: str | None,
    begins_anew: bool,
) -> None:
    def save(which: int, zone: str | None) -> None:
        schedules.save(
            cast.surf,
            changes_every=changes[which],
            full_at=full[which],
            time_zone=zone,
            actor=None,
        )

    with time_machine.travel(now(), tick=False) as clock:
        save(0, "Australia/Sydney")
        clock.shift(31 * HOUR)
        assert schedules.overdue(cast.surf, now())
        save(1, zone)
        assert schedules.overdue(cast.surf, now()) != begins_anew


@pytest.mark.parametrize(
    ("changes", "told", "begins_anew"),
    [(None, "Sydney", True), (60, "Sydney", False), (None, "Louisville", False)],
)
def test_a_clinic_of_nights_alone_is_not_overdue_because_its_time_zone_was_learned(
    cast: Cast, changes: int | None, told: str, begins_anew: bool
) -> None:
    """Until then it had no nights, and nothing could be missed."""
    with time_machine.travel(now(), tick=False) as clock:
        schedules.save(
            cast.surf, changes_every=changes, full_at=time(2), time_zone=None, actor=None
        )
        saved = now()
        clock.shift(72 * HOUR)
        with transaction():
            schedules.learn_time_zone(cast.surf, told)
        schedule = schedules.of(cast.surf)
        assert schedule is not None
        assert (schedule.saved_at, schedule.next_full_at is None) == (
            now() if begins_anew else saved,
            told == "Louisville",
        )
        assert schedules.overdue(cast.surf, now()) == (changes is not None)
        assert schedules.overdue(cast.surf, now() + 31 * HOUR) == (told == "Sydney")


def test_a_clinic_that_nobody_promised_anything_is_never_overdue(cast: Cast) -> None:
    later = now() + timedelta(days=400)
    assert not schedules.overdue(cast.surf, later)

    schedules.save(cast.surf, changes_every=None, full_at=None, time_zone=None, actor=None)
    assert not schedules.overdue(cast.surf, later)

    schedules.save(cast.surf, changes_every=15, full_at=None, time_zone=None, actor=None)
    assert schedules.overdue(cast.surf, later)
    suspension.disable(cast.surf, actor=cast.alice)
    assert not schedules.overdue(cast.surf, later)

    keyless = organizations.add("Keyless")
    schedules.save(keyless, changes_every=15, full_at=None, time_zone=None, actor=None)
    assert not schedules.overdue(keyless, later)


def test_the_time_in_which_a_clinic_was_disabled_does_not_count(cast: Cast) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        schedules.save(cast.surf, changes_every=15, full_at=None, time_zone=None, actor=None)
        suspension.disable(cast.surf, actor=cast.alice)
        clock.shift(5 * HOUR)
        suspension.enable(cast.surf, actor=cast.alice)

        assert not schedules.overdue(cast.surf, now() + ALLOWED)
        assert schedules.overdue(cast.surf, now() + ALLOWED + timedelta(seconds=1))

        clock.shift(HOUR)
        suspension.enable(cast.surf, actor=cast.alice)  # which it is already
        assert schedules.overdue(cast.surf, now())


def test_the_time_without_a_key_does_not_count(cast: Cast) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        keyless = organizations.add("Keyless")
        schedules.save(keyless, changes_every=15, full_at=None, time_zone=None, actor=None)
        clock.shift(5 * HOUR)
        organizations.replace_key(keyless, SURF_KEY)

        assert not schedules.overdue(keyless, now() + ALLOWED)
        assert schedules.overdue(keyless, now() + ALLOWED + timedelta(seconds=1))


def test_what_is_said_to_have_been_later_than_now_hides_no_clinic_that_is_overdue(
    cast: Cast,
) -> None:
    """It was written down while a clock ran ahead."""
    with time_machine.travel(now(), tick=False) as clock:
        schedules.save(cast.surf, changes_every=15, full_at=None, time_zone=None, actor=None)
        make_log(cast.surf, started_at=now() + 11 * HOUR)
        with transaction():
            cast.surf.credentials_saved_at = now() + 11 * HOUR
        clock.shift(ALLOWED + timedelta(seconds=1))
        assert schedules.overdue(cast.surf, now())
        make_log(cast.surf, started_at=now() - timedelta(minutes=10))
        assert not schedules.overdue(cast.surf, now())
        clock.shift(-2 * HOUR)
        assert not schedules.overdue(cast.surf, now())  # nothing is known of before


def test_a_machine_that_is_a_second_behind_calls_no_clinic_overdue_that_was_just_enabled(
    cast: Cast,
) -> None:
    make_log(cast.surf, started_at=now() - timedelta(days=30))
    schedules.save(cast.surf, changes_every=15, full_at=None, time_zone=None, actor=None)
    with transaction():
        cast.surf.credentials_saved_at = now() - timedelta(days=30)
    assert not schedules.overdue(cast.surf, now() - timedelta(seconds=1))


def test_a_zone_that_this_machine_does_not_know_is_no_zone(cast: Cast) -> None:
    schedules.save(
        cast.surf, changes_every=60, full_at=time(2), time_zone="Europe/London", actor=None
    )
    with transaction():
        cast.surf.time_zone = "Mars/Olympus_Mons"
    row = schedules.of(cast.surf)
    assert row is not None
    assert schedules.timetable(cast.surf, row).time_zone is None


@pytest.mark.parametrize(
    ("told", "zone"),
    [
        ("Sydney", "Australia/Sydney"),
        ("Australia/Lord_Howe", "Australia/Lord_Howe"),
        ("Melbourne", "Australia/Melbourne"),
        ("Perth", "Australia/Perth"),
        ("Canberra", "Australia/Canberra"),
        ("Auckland", "Pacific/Auckland"),
        ("Wellington", "Pacific/Auckland"),
        ("London", "Europe/London"),
        ("Edinburgh", "Europe/London"),
        ("Dublin", "Europe/Dublin"),
        ("Hong Kong", "Asia/Hong_Kong"),
        ("Eastern Time (US & Canada)", "America/New_York"),
        ("Pacific Time (US & Canada)", "America/Los_Angeles"),
        ("Newfoundland", "America/St_Johns"),
        ("UTC", "UTC"),
        ("", None),
        ("Buenos Aires", "America/Argentina/Buenos_Aires"),
        ("Istanbul", "Europe/Istanbul"),
        ("Guadalajara", "America/Mexico_City"),
        ("Quito", "America/Lima"),
        ("Georgetown", "America/Guyana"),
        ("Greenland", "America/Nuuk"),
        ("Mid-Atlantic", "Atlantic/South_Georgia"),
        ("Cape Verde Is.", "Atlantic/Cape_Verde"),
        ("West Central Africa", "Africa/Algiers"),
        ("Ekaterinburg", "Asia/Yekaterinburg"),
        ("Sri Jayawardenepura", "Asia/Colombo"),
        ("Astana", "Asia/Almaty"),
        ("Nuku'alofa", "Pacific/Tongatapu"),
        ("Tokelau Is.", "Pacific/Fakaofo"),
        ("Chatham Is.", "Pacific/Chatham"),
        ("Midway Island", "Pacific/Midway"),
        ("International Date Line West", None),
        ("Louisville", None),
        ("../Sydney", None),
    ],
)
def test_cliniko_names_zones_as_rails_does(told: str, zone: str | None) -> None:
    assert time_zones.named_by_cliniko(told) == zone


@pytest.mark.parametrize("zone", sorted(set(time_zones.NAMED_OTHERWISE.values())))
def test_every_zone_that_a_name_is_taken_for_can_be_chosen(zone: str) -> None:
    assert zone in time_zones.choices()


def test_who_changed_a_schedule_and_how_is_in_the_audit_trail(cast: Cast) -> None:
    schedules.save(
        cast.surf, changes_every=30, full_at=time(2, 5), time_zone="Europe/London", actor=cast.bob
    )
    theirs = db.select(AuditEvent).where(AuditEvent.event == "schedule:changed")
    event = db.session.scalars(theirs).one()

    assert (event.chain, event.actor) == (cast.surf.id, "bob@example.com")
    assert event.details == {"changes_every": 30, "full_at": "02:05", "time_zone": "Europe/London"}
