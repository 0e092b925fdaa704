"""GET /api/v1/cliniko/sync-logs/{orgId} and /{syncLogId}"""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import delete

from tests.api.envelope import details_of
from tests.api.rows import MORNING, ended, hold, make_log, refuse
from tests.cast import Cast
from webapp.api.metadata import Metadata
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import OperationType, SyncFailure, SyncMetadata, SyncPhase, SyncStatus
from webapp.sync import held
from webapp.sync.lease import LEASE
from webapp.sync.progress import Progress

INTERNAL = {"removals_marked"}  # of the metadata that a sync has, what is for our own pages alone


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/sync-logs/{cast.surf.id}"


def test_a_running_sync_reads_as_in_the_reference(vera: FlaskClient, url: str, cast: Cast) -> None:
    progress = Progress(
        OperationType.FULL_PATIENTS,
        phase=SyncPhase.FETCHING,
        found=648,
        success=448,
        failed=2,
        current_page=5,
        total_pages=7,
        percent=69.4,
        remaining_seconds=45,
    )
    log = make_log(
        cast.surf,
        SyncStatus.RUNNING,
        started_at=now(),
        records_success=448,
        records_failed=2,
        progress=progress.metadata(),
        worker="worker-1",
        lease_expires_at=now() + LEASE,
    )

    answer = vera.get(f"{url}?limit=1")

    body = answer.get_json()
    shown = body["logs"][0]
    metadata = shown.pop("metadata")
    started_at = shown.pop("started_at")
    assert answer.status_code == 200
    assert (body["total_count"], body["has_more"]) == (1, False)
    assert started_at.endswith("Z")
    assert shown == {
        "id": log.id,
        "organization_id": cast.surf.id,
        "operation_type": "full_patients",
        "status": "running",
        "completed_at": None,
        "records_processed": 450,
        "records_success": 448,
        "records_failed": 2,
        "error_details": None,
    }
    assert (
        metadata
        | {
            "patients_found": 648,
            "patients_stored": 448,
            "sync_type": "full_patients",
            "current_page": 5,
            "total_pages": 7,
            "progress_percent": 69.4,
            "estimated_remaining": "45 seconds",
            "estimated_remaining_seconds": 45,
            "phase": "fetching",
            "waiting_until": None,
            "waiting_for": None,
        }
        == metadata
    )


def test_all_metadata_of_a_sync_is_told_but_what_is_internal() -> None:
    assert SyncMetadata.__annotations__.keys() == Metadata.model_fields.keys() | INTERNAL


def test_the_newest_stands_first(vera: FlaskClient, url: str, cast: Cast) -> None:
    later = make_log(cast.surf, started_at=MORNING + timedelta(hours=1))
    newest = make_log(cast.surf, started_at=MORNING)

    logs = vera.get(url).get_json()["logs"]
    assert [log["id"] for log in logs] == [newest.id, later.id]


def test_ten_are_shown_unless_more_are_asked_for(vera: FlaskClient, url: str, cast: Cast) -> None:
    ids = [make_log(cast.surf).id for _ in range(12)]

    first = vera.get(url).get_json()
    rest = vera.get(f"{url}?limit=10&offset=10").get_json()

    assert [log["id"] for log in first["logs"] + rest["logs"]] == ids[::-1]
    assert (first["total_count"], first["has_more"]) == (12, True)
    assert (rest["total_count"], rest["has_more"]) == (12, False)


def test_a_limit_above_the_maximum_is_lowered_to_it(
    vera: FlaskClient, url: str, cast: Cast
) -> None:
    for _ in range(101):
        make_log(cast.surf)

    for limit in ("101", "1000000000", "9" * 5000):
        page = vera.get(url, query_string={"limit": limit}).get_json()
        assert (len(page["logs"]), page["has_more"]) == (100, True)


def test_filters_choose_and_the_count_is_of_those_chosen(
    vera: FlaskClient, url: str, cast: Cast
) -> None:
    make_log(cast.surf)
    failed = make_log(cast.surf, SyncStatus.FAILED)
    active = make_log(cast.surf, operation_type=OperationType.ACTIVE_PATIENTS)

    by_status = vera.get(f"{url}?status=failed").get_json()
    by_type = vera.get(f"{url}?operation_type=active_patients").get_json()
    by_both = vera.get(f"{url}?operation_type=active_patients&status=failed").get_json()

    assert ([log["id"] for log in by_status["logs"]], by_status["total_count"]) == ([failed.id], 1)
    assert ([log["id"] for log in by_type["logs"]], by_type["total_count"]) == ([active.id], 1)
    assert by_both == {"logs": [], "total_count": 0, "has_more": False}


def test_a_failed_sync_says_why(vera: FlaskClient, url: str, cast: Cast) -> None:
    make_log(
        cast.surf,
        SyncStatus.FAILED,
        error_code="CLINIKO_AUTH_FAILED",
        error_message="Cliniko does not accept the API key.",
    )

    assert vera.get(url).get_json()["logs"][0]["error_details"] == {
        "error_code": "CLINIKO_AUTH_FAILED",
        "message": "Cliniko does not accept the API key.",
        "failed_at": "2026-03-02T09:34:22Z",
    }


def test_removals_that_are_held_are_counted_until_somebody_decides(
    vera: FlaskClient, url: str, cast: Cast
) -> None:
    log = hold(cast.surf, 30)
    ended(cast.surf)  # a later sync changes nothing about that one

    def told() -> list[object]:
        metadata = vera.get(f"{url}/{log.id}").get_json()["metadata"]
        return [metadata[f"removals_{each}"] for each in ("held", "decision", "decided_at")]

    assert told() == [30, None, None]
    for decide, decision in ((held.dismiss, "dismissed"), (held.confirm, "confirmed")):
        with time_machine.travel("2026-03-02T10:00:00Z", tick=False):
            decide(cast.surf, log, actor=cast.alice)
        assert told() == [30, decision, "2026-03-02T10:00:00Z"]


def test_those_that_are_kept_are_counted_apart(vera: FlaskClient, url: str, cast: Cast) -> None:
    ended(cast.surf, removals_kept=30)

    metadata = vera.get(url).get_json()["logs"][0]["metadata"]
    assert (metadata["removals_held"], metadata["removals_kept"]) == (0, 30)
    assert metadata["removals_decision"] is None


def test_a_sync_whose_worker_is_gone_is_not_shown_as_running(
    vera: FlaskClient, url: str, cast: Cast
) -> None:
    make_log(cast.surf, SyncStatus.RUNNING, worker="lost", lease_expires_at=MORNING)

    log = vera.get(f"{url}?limit=1").get_json()["logs"][0]
    assert log["status"] == "failed"
    assert log["error_details"]["error_code"] == "SYNC_INTERRUPTED"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"),
        ("limit=1e2", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%2B1", "limit"),
        ("limit=NaN", "limit"),
        ("limit=%EF%BC%91%EF%BC%90", "limit"),  # full-width digits
        ("limit=5&limit=6", "limit"),
        ("offset=-1", "offset"),
        ("offset=one", "offset"),
        ("offset=1000001", "offset"),
        ("offset=" + "9" * 5000, "offset"),
        ("status=queued", "status"),
        ("status=RUNNING", "status"),
        ("status=", "status"),
        ("status=failed&status=failed", "status"),
        ("operation_type=everything", "operation_type"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(
    vera: FlaskClient, url: str, cast: Cast, query: str, parameter: str
) -> None:
    details = details_of(vera.get(f"{url}?{query}"), 400, "VALIDATION_ERROR")

    assert details == {"organization_id": cast.surf.id, "parameter": parameter}


def test_parameters_that_nobody_knows_are_ignored(vera: FlaskClient, url: str) -> None:
    assert vera.get(f"{url}?_=1&_=2&page=3").status_code == 200


def test_one_sync_lists_the_records_that_failed(vera: FlaskClient, url: str, cast: Cast) -> None:
    log = refuse(cast.surf, 3)

    first = vera.get(f"{url}/{log.id}?limit=2").get_json()
    rest = vera.get(f"{url}/{log.id}?limit=2&offset=2").get_json()

    assert (first["id"], first["records_failed"]) == (log.id, 3)
    assert first["failures"][0] == {
        "cliniko_patient_id": "900",
        "page": 3,
        "field": "date_of_birth",
        "reason": "is no date",
        "failed_at": "2026-03-02T09:30:00Z",
    }
    assert first["pagination"] == {"total": 3, "limit": 2, "offset": 0, "has_next": True}
    assert [each["cliniko_patient_id"] for each in rest["failures"]] == ["902"]
    assert rest["pagination"]["has_next"] is False


def test_failures_of_whoever_was_forgotten_are_not_waited_for(
    vera: FlaskClient, url: str, cast: Cast
) -> None:
    log = refuse(cast.surf, 3)
    with transaction() as session:
        session.execute(delete(SyncFailure).where(SyncFailure.cliniko_patient_id == "902"))

    body = vera.get(f"{url}/{log.id}?limit=2").get_json()

    assert (body["records_failed"], len(body["failures"])) == (3, 2)
    assert (body["pagination"]["total"], body["pagination"]["has_next"]) == (2, False)


def test_one_sync_is_the_same_as_in_the_list(vera: FlaskClient, url: str, cast: Cast) -> None:
    log = make_log(cast.surf)

    alone = vera.get(f"{url}/{log.id}").get_json()

    assert alone.pop("failures") == []
    assert alone.pop("pagination")["total"] == 0
    assert alone == vera.get(url).get_json()["logs"][0]


def test_a_sync_of_another_clinic_is_not_there(vera: FlaskClient, url: str, cast: Cast) -> None:
    log = make_log(cast.northside)

    details = details_of(vera.get(f"{url}/{log.id}"), 404, "NOT_FOUND")
    assert details == {"organization_id": cast.surf.id}
    assert vera.get(url).get_json() == {"logs": [], "total_count": 0, "has_more": False}


@pytest.mark.parametrize("odd", ["0", "-1", "abc", "9" * 30, "%EF%BC%91", "1%00", "1%0A"])
def test_an_odd_id_of_a_sync_is_not_there_either(vera: FlaskClient, url: str, odd: str) -> None:
    details_of(vera.get(f"{url}/{odd}"), 404, "NOT_FOUND")
