"""GET /api/v1/cliniko/schedule/{orgId}"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
import time_machine
from flask import Flask

from tests.api.rows import make_log
from tests.cast import Cast
from tests.conftest import as_user
from webapp.clock import now
from webapp.models import SyncOrigin
from webapp.services import organizations, schedules
from webapp.sync import suspension


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/schedule/{cast.surf.id}"


def test_it_tells_what_was_chosen_and_what_comes(app: Flask, cast: Cast, url: str) -> None:
    log = make_log(cast.surf, origin=SyncOrigin.SCHEDULE)
    evening = datetime(2026, 12, 1, 12, tzinfo=UTC)
    with time_machine.travel(evening):
        schedules.save(
            cast.surf, changes_every=480, full_at=time(2), time_zone="Australia/Sydney", actor=None
        )
        body = as_user(app, cast.bob).get(url).get_json()

    assert body["time_zone"] == "Australia/Sydney"
    assert (body["changes_every_minutes"], body["full_at"]) == (480, "02:00")
    assert [(run["at"][:15], run["full"]) for run in body["next_runs"]] == [
        ("2026-12-01T12:5", False),
        ("2026-12-01T15:0", True),
        ("2026-12-01T20:5", False),
    ]
    assert body["last_sync_log_id"] == log.id
    assert body["overdue"] is False


def test_a_clinic_without_a_schedule_has_none(app: Flask, cast: Cast, url: str) -> None:
    assert as_user(app, cast.bob).get(url).get_json() == {
        "time_zone": None,
        "changes_every_minutes": None,
        "full_at": None,
        "next_runs": [],
        "last_sync_log_id": None,
        "overdue": False,
    }


def test_where_nothing_can_run_no_run_is_promised(app: Flask, cast: Cast, url: str) -> None:
    keyless = organizations.add("No key yet")
    for clinic in (cast.surf, keyless):
        schedules.save(clinic, changes_every=15, full_at=None, time_zone="UTC", actor=None)
    alice = as_user(app, cast.alice)
    assert len(alice.get(url).get_json()["next_runs"]) == 3
    suspension.disable(cast.surf, actor=cast.alice)
    for address in (url, f"/api/v1/cliniko/schedule/{keyless.id}"):
        body = alice.get(address).get_json()
        assert (body["changes_every_minutes"], body["next_runs"]) == (15, [])


def test_it_says_who_has_fallen_behind(app: Flask, cast: Cast, url: str) -> None:
    schedules.save(cast.surf, changes_every=15, full_at=None, time_zone="Europe/London", actor=None)
    with time_machine.travel(now() + timedelta(hours=1)):
        assert as_user(app, cast.bob).get(url).get_json()["overdue"] is True
