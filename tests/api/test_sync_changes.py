"""POST /api/v1/cliniko/sync-changes/{orgId}"""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from tests.api.envelope import details_of
from tests.api.rows import make_log
from tests.cast import Cast
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, SyncOrigin, SyncStatus
from webapp.sync import history


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/sync-changes/{cast.surf.id}"


@pytest.fixture
def read_whole(cast: Cast) -> None:
    """Surf Rehab was read whole a day ago."""
    yesterday = now() - timedelta(days=1)
    make_log(cast.surf, started_at=yesterday)
    with transaction():
        organization = db.session.get_one(Organization, cast.surf.id)
        organization.synced_through = yesterday
        organization.credentials_saved_at = None


def test_the_answer_is_that_of_a_start(
    bob: FlaskClient, url: str, cast: Cast, read_whole: None
) -> None:
    answer = bob.post(url)

    log = history.latest(cast.surf)
    assert log is not None
    assert answer.status_code == 200
    body = answer.get_json()
    assert body.pop("expected_duration").endswith(" seconds")
    assert body == {
        "success": True,
        "message": f"Sync of changes started for organization {cast.surf.id}",
        "operation_type": "changed_patients",
        "sync_log_id": log.id,
    }
    assert (log.operation_type, log.origin, log.started_by_id) == (
        "changed_patients",
        "api",
        cast.bob.id,
    )
    polled = bob.get(f"/api/v1/cliniko/sync-logs/{cast.surf.id}?limit=1").get_json()["logs"][0]
    assert polled["operation_type"] == polled["metadata"]["sync_type"] == "changed_patients"
    assert polled["metadata"]["changed_since"].endswith("Z")
    assert polled["metadata"]["changes"]["added"] == 0


def test_where_a_full_sync_is_due_it_says_that_it_starts_one(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    body = bob.post(url).get_json()

    assert body["operation_type"] == "full_patients"
    assert body["message"] == f"Full patient sync started for organization {cast.surf.id}"


def test_one_runs_at_a_time_whichever_it_is(
    bob: FlaskClient, url: str, cast: Cast, read_whole: None
) -> None:
    started = bob.post(url).get_json()

    for path in (url, f"/api/v1/cliniko/sync-all/{cast.surf.id}"):
        details = details_of(bob.post(path), 429, "SYNC_ALREADY_RUNNING")
        assert details["sync_log_id"] == started["sync_log_id"]


@pytest.mark.parametrize("former", [OperationType.FULL_PATIENTS, OperationType.CHANGED_PATIENTS])
def test_a_start_just_before_holds_it_up(
    former: OperationType, bob: FlaskClient, url: str, cast: Cast, read_whole: None
) -> None:
    make_log(
        cast.surf,
        started_at=now() - timedelta(minutes=1),
        origin=SyncOrigin.API,
        operation_type=former,
    )

    answer = bob.post(url)

    details_of(answer, 429, "RATE_LIMITED")
    assert answer.headers["X-RateLimit-Remaining"] == "0"


def test_it_never_holds_up_a_sync_of_all_patients(
    bob: FlaskClient, url: str, cast: Cast, read_whole: None
) -> None:
    """Whose callers were promised one each five minutes before there was this."""
    make_log(
        cast.surf,
        started_at=now() - timedelta(minutes=1),
        origin=SyncOrigin.API,
        operation_type=OperationType.CHANGED_PATIENTS,
    )

    answer = bob.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}")

    assert answer.status_code == 200
    assert answer.headers["X-RateLimit-Remaining"] == "0"


def test_the_window_is_given_back_by_a_failure(
    bob: FlaskClient, url: str, cast: Cast, read_whole: None
) -> None:
    make_log(
        cast.surf,
        SyncStatus.FAILED,
        started_at=now() - timedelta(minutes=1),
        origin=SyncOrigin.API,
        operation_type=OperationType.CHANGED_PATIENTS,
    )

    assert bob.post(url).status_code == 200


def test_an_idempotency_key_starts_once(bob: FlaskClient, url: str, read_whole: None) -> None:
    headers = {"Idempotency-Key": "a key of the client"}
    first, second = (bob.post(url, headers=headers) for _ in range(2))

    assert first.get_json() == second.get_json()
    assert second.headers["Idempotency-Replayed"] == "true"


def test_viewers_may_not_start_it(vera: FlaskClient, url: str) -> None:
    details_of(vera.post(url), 403, "INSUFFICIENT_PERMISSIONS")


def test_the_logs_can_be_asked_for_those_alone(
    bob: FlaskClient, url: str, cast: Cast, read_whole: None
) -> None:
    started = bob.post(url).get_json()

    logs = bob.get(
        f"/api/v1/cliniko/sync-logs/{cast.surf.id}?operation_type=changed_patients"
    ).get_json()["logs"]

    assert [log["id"] for log in logs] == [started["sync_log_id"]]
