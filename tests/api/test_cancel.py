"""POST /api/v1/cliniko/cancel/{orgId}"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.api.envelope import details_of
from tests.cast import Cast
from webapp.clock import now
from webapp.extensions import transaction
from webapp.sync import history
from webapp.sync.lease import LEASE


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/cancel/{cast.surf.id}"


@pytest.fixture
def sync_log_id(bob: FlaskClient, cast: Cast) -> int:
    """A sync that waits in the queue."""
    started = bob.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}").get_json()
    return int(started["sync_log_id"])


def test_a_sync_that_waits_in_the_queue_ends_at_once(
    bob: FlaskClient, url: str, sync_log_id: int, cast: Cast, work: Callable[[], None]
) -> None:
    answer = bob.post(url)

    assert answer.status_code == 200
    assert answer.get_json() == {
        "success": True,
        "message": f"The sync of organization {cast.surf.id} was cancelled",
        "sync_log_id": sync_log_id,
        "status": "failed",
    }
    work()
    status = bob.get(f"/api/v1/cliniko/status/{cast.surf.id}").get_json()
    log = bob.get(f"/api/v1/cliniko/sync-logs/{cast.surf.id}").get_json()["logs"][0]
    assert status["sync_status"] == "failed"
    assert status["patient_counts"]["synced_to_database"] == 0
    assert log["error_details"]["error_code"] == "SYNC_CANCELLED"


def test_a_sync_that_is_being_worked_on_is_asked_to_stop(
    bob: FlaskClient, url: str, sync_log_id: int, cast: Cast
) -> None:
    with transaction():
        log = history.latest(cast.surf)
        assert log is not None
        log.worker, log.lease_expires_at = "worker-1", now() + LEASE

    answer = bob.post(url)

    assert answer.get_json()["status"] == "running"
    assert answer.get_json()["message"].endswith("is asked to stop")
    assert log.cancel_requested_at is not None


def test_without_a_running_sync_there_is_nothing_to_cancel(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    details = details_of(bob.post(url), 409, "SYNC_NOT_RUNNING")

    assert details == {"organization_id": cast.surf.id}
