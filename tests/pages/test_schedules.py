"""GET and POST /clinics/<id>/schedule"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

import pytest
import time_machine
from flask import Flask

from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import Organization, Schedule
from webapp.services import connection, schedules
from webapp.sync.schedule import start_due_syncs


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/schedule"


def chosen(clinic: Organization) -> Schedule | None:
    db.session.rollback()
    return schedules.of(clinic)


def test_a_clinic_begins_without_a_schedule(bob: Visitor, path: str) -> None:
    words = text_of(bob.get(path))
    assert "This clinic has no schedule" in words
    assert "Started never" in words


def test_it_shows_the_next_three_runs_by_the_clinics_own_clock(
    app: Flask, cast: Cast, path: str
) -> None:
    with time_machine.travel(datetime(2026, 10, 3, 12, tzinfo=UTC)):
        bob = Visitor(app).signed_in(cast.bob)
        answer = bob.post(path, changes_every="0", full_at="02:30", time_zone="Australia/Sydney")
        assert answer.headers["Location"] == path
        words = text_of(bob.get(path))

    assert "The schedule was saved." in words
    # The clock is set forward at two in that night, and the clinic has its place behind the time.
    assert "Sun 4 Oct 2026, 03:06 AEDT Full sync" in words
    assert "Mon 5 Oct 2026, 02:36 AEDT Full sync" in words
    assert "Tue 6 Oct 2026, 02:36 AEDT Full sync" in words
    assert "Wed 7 Oct 2026" not in words
    assert "starts between 02:30 and 02:40" in words


def test_what_was_chosen_stands_in_the_form(bob: Visitor, path: str) -> None:
    bob.post(path, changes_every="120", full_at="23:55", time_zone="Europe/London")
    page = Parsed(bob.get(path).text)

    selected = [tag.get("value") for name, tag in page.tags if "selected" in tag]
    assert selected == ["120", "Europe/London"]
    assert page.having(name="full_at")[0]["value"] == "23:55"
    assert "between 23:55 and 00:05" in page.text


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("changes_every", "7", "Choose one of the intervals."),
        ("changes_every", "soon", "This is no whole number."),
        ("full_at", "25:00", "This is no time of day"),
        ("full_at", "night", "This is no time of day"),
        ("time_zone", "Sydney", "Choose one of the time zones."),
        ("time_zone", "../../etc/passwd", "Choose one of the time zones."),
    ],
)
def test_what_is_no_choice_is_told_at_its_field(
    bob: Visitor, path: str, cast: Cast, field: str, value: str, words: str
) -> None:
    form = {"changes_every": "60", "full_at": "02:00", "time_zone": "Europe/London"}
    answer = bob.post(path, **form | {field: value})

    assert answer.status_code == 422
    assert words in text_of(answer)
    assert Parsed(answer.text).having(name=field)[0]["aria-invalid"] == "true"
    assert chosen(cast.surf) is None


def test_the_time_zone_is_what_cliniko_tells_until_somebody_says_otherwise(
    bob: Visitor, path: str, cast: Cast
) -> None:
    bob.post(path, changes_every="0", full_at="02:00", time_zone="")
    assert "Cliniko tells it when the connection is tested" in text_of(bob.get(path))

    connection.test_connection(cast.surf, actor=cast.bob)
    words = text_of(bob.get(path))
    assert "is not known" not in words
    assert "in the zone Australia/Sydney" in words
    row = chosen(cast.surf)
    assert row is not None
    assert row.next_full_at is not None

    bob.post(path, changes_every="0", full_at="02:00", time_zone="Australia/Perth")
    connection.test_connection(cast.surf, actor=cast.bob)
    assert "in the zone Australia/Perth" in text_of(bob.get(path))


def test_a_zone_that_this_machine_does_not_know_is_asked_for(
    bob: Visitor, path: str, cast: Cast
) -> None:
    bob.post(path, changes_every="60", full_at="02:00", time_zone="Europe/London")
    with transaction():
        cast.surf.time_zone = "Mars/Olympus_Mons"
    words = text_of(bob.get(path))
    assert "The time zone of this clinic is not known" in words
    assert "UTC Changes" in words


def test_a_schedule_can_be_switched_off(bob: Visitor, path: str, cast: Cast) -> None:
    bob.post(path, changes_every="15", full_at="02:00", time_zone="Europe/London")
    bob.post(path, changes_every="0", full_at="", time_zone="Europe/London")

    assert "This clinic has no schedule" in text_of(bob.get(path))
    row = chosen(cast.surf)
    assert row is not None
    assert (row.next_changes_at, row.next_full_at) == (None, None)


def test_the_last_scheduled_run_and_the_skipped_one_are_shown(
    app: Flask, bob: Visitor, path: str, cast: Cast, work: Callable[[], None]
) -> None:
    bob.post(path, changes_every="15", full_at="", time_zone="Europe/London")
    db.session.rollback()
    with time_machine.travel(now() + timedelta(minutes=16)):
        (sync_id,) = start_due_syncs()
        work()
    with time_machine.travel(now() + timedelta(minutes=32)):
        bob = Visitor(app).signed_in(cast.bob)
        bob.post(f"/clinics/{cast.surf.id}/syncs")
        db.session.rollback()
        assert start_due_syncs() == []
        work()
        assert start_due_syncs() == []
        words = text_of(bob.get(path))
        history = text_of(bob.get(f"/clinics/{cast.surf.id}/syncs"))

    assert f"Last scheduled run Completed Sync #{sync_id}" in words
    assert "Skipped, as a sync was running" in words
    assert "— Schedule" in history


def test_a_clinic_that_has_fallen_behind_is_overdue_everywhere(
    app: Flask, bob: Visitor, path: str, cast: Cast
) -> None:
    bob.post(path, changes_every="60", full_at="", time_zone="Europe/London")
    assert "Overdue" not in text_of(bob.get(path)) + text_of(bob.get("/clinics"))

    with time_machine.travel(now() + timedelta(hours=2, minutes=16)):
        bob = Visitor(app).signed_in(cast.bob)
        assert "not been in step for longer than its schedule allows" in text_of(bob.get(path))
        words = text_of(bob.get("/clinics"))
        assert "Overdue" in words
        assert "Need attention 1" in words


def test_a_viewer_has_no_such_tab(vera: Visitor, path: str, cast: Cast) -> None:
    assert "Schedule" not in text_of(vera.get(f"/clinics/{cast.surf.id}"))
    assert vera.get(path).status_code == 403
    assert vera.post(path, changes_every="15").status_code == 403


def test_a_new_clinic_is_kept_in_step_if_that_is_wanted(alice: Visitor) -> None:
    assert "checked" in Parsed(alice.get("/clinics/new").text).having(name="scheduled")[0]
    key = "MS0zLTk5OTk5LWhhcmJvdXI-uk1"
    alice.post("/clinics/new", name="With", api_key=key, scheduled="on")
    alice.post("/clinics/new", name="Without", api_key=key)
    db.session.rollback()
    kept = {row.organization_id: row for row in db.session.scalars(db.select(Schedule))}
    by_name = {each.name: each.id for each in db.session.scalars(db.select(Organization))}

    assert list(kept) == [by_name["With"]]
    row = kept[by_name["With"]]
    assert (row.changes_every, row.full_at) == (60, time(2))
    assert row.next_changes_at is not None
    assert row.next_full_at is None  # before its time zone is known


def test_without_a_key_the_page_says_that_nothing_runs(alice: Visitor, cast: Cast) -> None:
    with transaction():
        cast.surf.encrypted_api_key = None
    path = f"/clinics/{cast.surf.id}/schedule"
    alice.post(path, changes_every="60", full_at="", time_zone="Europe/London")
    assert "Nothing runs before the API key is saved." in text_of(alice.get(path))
