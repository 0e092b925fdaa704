"""POST /api/v1/cliniko/sync-all/{orgId}"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask.testing import FlaskClient

from tests.api.envelope import details_of
from tests.api.rows import make_log
from tests.cast import Cast
from webapp.clock import iso, now
from webapp.extensions import transaction
from webapp.models import OperationType, SyncStatus
from webapp.services import organizations
from webapp.sync import ending, history


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/sync-all/{cast.surf.id}"


def test_the_answer_says_what_the_reference_promises(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    answer = bob.post(url)

    log = history.latest(cast.surf)
    assert log is not None
    assert answer.status_code == 200
    assert answer.get_json() == {
        "success": True,
        "message": f"Full patient sync started for organization {cast.surf.id}",
        "operation_type": "full_patients",
        "expected_duration": "30-120 seconds",
        "sync_log_id": log.id,
    }
    assert (log.operation_type, log.origin, log.started_by_id) == (
        "full_patients",
        "api",
        cast.bob.id,
    )


def test_a_body_is_neither_needed_nor_read(bob: FlaskClient, url: str) -> None:
    assert bob.post(url, data="{not json", content_type="application/json").status_code == 200


def test_the_very_first_poll_sees_the_new_sync(bob: FlaskClient, url: str, cast: Cast) -> None:
    started = bob.post(url).get_json()

    polled = bob.get(f"/api/v1/cliniko/sync-logs/{cast.surf.id}?limit=1").get_json()
    assert polled["logs"][0]["id"] == started["sync_log_id"]
    assert polled["logs"][0]["status"] == "running"
    assert polled["logs"][0]["metadata"]["phase"] == "queued"


def test_a_worker_brings_all_patients(
    bob: FlaskClient, url: str, cast: Cast, work: Callable[[], None]
) -> None:
    bob.post(url)
    work()

    status = bob.get(f"/api/v1/cliniko/status/{cast.surf.id}").get_json()
    assert status["sync_status"] == "completed"
    assert status["patient_counts"] == {
        "total_in_cliniko": 602,
        "synced_to_database": 602,
        "forgotten": 0,
        "success_rate": 100.0,
    }


def test_the_expected_duration_comes_from_the_last_sync(
    bob: FlaskClient, url: str, work: Callable[[], None]
) -> None:
    bob.post(url)
    work()

    with time_machine.travel(now() + timedelta(minutes=6)):
        # The token of the fixture is still good: it lasts an hour.
        expected = bob.post(url).get_json()["expected_duration"]
    assert re.fullmatch("[0-9]+-[0-9]+ seconds", expected)
    assert expected != "30-120 seconds"


@pytest.mark.parametrize("running", list(OperationType))
def test_a_start_is_told_of_what_type_the_running_sync_is(
    bob: FlaskClient, url: str, cast: Cast, running: OperationType
) -> None:
    log = make_log(
        cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w", operation_type=running
    )

    details = details_of(bob.post(url), 429, "SYNC_ALREADY_RUNNING")

    assert (details["sync_log_id"], details["operation_type"]) == (log.id, running)


def test_a_second_start_is_told_of_the_running_one(
    bob: FlaskClient, alice: FlaskClient, url: str, cast: Cast
) -> None:
    first = bob.post(url).get_json()

    answer = alice.post(url)

    details = details_of(answer, 429, "SYNC_ALREADY_RUNNING")
    started_at = details.pop("started_at")
    assert datetime.fromisoformat(started_at) <= now()
    assert details == {
        "organization_id": cast.surf.id,
        "operation_type": "full_patients",
        "sync_log_id": first["sync_log_id"],
        "progress_percent": 0.0,
    }
    assert int(answer.headers["Retry-After"]) >= 1


def test_one_start_in_five_minutes_whoever_asks(
    bob: FlaskClient, alice: FlaskClient, url: str, work: Callable[[], None]
) -> None:
    start = (now() + timedelta(minutes=1)).replace(microsecond=400_000)
    with time_machine.travel(start, tick=False) as clock:
        bob.post(url)
        work()
        clock.shift(60)

        answer = alice.post(url)

        details = details_of(answer, 429, "RATE_LIMITED")
        until = start.replace(microsecond=0) + timedelta(minutes=5, seconds=1)
        assert details["retry_at"] == iso(until)
        theirs = until.astimezone(ZoneInfo("Australia/Sydney"))  # as Cliniko has told meanwhile
        assert f" at {theirs:%H:%M:%S %Z}." in answer.get_json()["message"]
        assert answer.headers["X-RateLimit-Reset"] == str(int(until.timestamp()))
        assert answer.headers["Retry-After"] == "240"
        clock.shift(241)
        assert alice.post(url).status_code == 200


def test_every_answer_tells_how_the_clinic_stands_to_its_limit(bob: FlaskClient, url: str) -> None:
    start = (now() + timedelta(minutes=1)).replace(microsecond=0)
    with time_machine.travel(start, tick=False):
        for status in (200, 429):
            answer = bob.post(url)
            assert answer.status_code == status
            assert answer.headers["X-RateLimit-Limit"] == "1"
            assert answer.headers["X-RateLimit-Remaining"] == "0"
            assert int(answer.headers["X-RateLimit-Reset"]) == start.timestamp() + 300


def test_a_sync_that_failed_gives_its_window_back(bob: FlaskClient, url: str, cast: Cast) -> None:
    bob.post(url)
    log = history.latest(cast.surf)
    assert log is not None
    with transaction():
        ending.fail(log, ending.Closing("CLINIKO_UNAVAILABLE", "Cliniko cannot be reached."))

    assert bob.post(url).status_code == 200


def test_those_who_may_not_use_up_nothing(
    vera: FlaskClient, charlie: FlaskClient, bob: FlaskClient, client: FlaskClient, url: str
) -> None:
    for _ in range(3):
        for stranger, status in ((vera, 403), (charlie, 403), (client, 401)):
            answer = stranger.post(url)
            assert answer.status_code == status
            assert answer.headers["X-RateLimit-Limit"] == "1"
            assert answer.headers["X-RateLimit-Remaining"] == "1"

    assert bob.post(url).status_code == 200


def test_a_sync_that_waits_for_another_clinic_is_no_obstacle(
    bob: FlaskClient, charlie: FlaskClient, url: str, cast: Cast
) -> None:
    bob.post(url)

    assert charlie.post(f"/api/v1/cliniko/sync-all/{cast.northside.id}").status_code == 200


def test_a_clinic_without_a_key_cannot_be_synced(alice: FlaskClient) -> None:
    organization = organizations.add("Keyless Clinic")

    answer = alice.post(f"/api/v1/cliniko/sync-all/{organization.id}")

    details = details_of(answer, 401, "CLINIKO_NOT_CONFIGURED")
    assert details["organization_id"] == organization.id
    assert history.latest(organization) is None
