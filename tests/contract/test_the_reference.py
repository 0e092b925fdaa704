"""What integrators were promised first: every path, key, type, status and code of that reference,
and its polling loop, on the running system."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.contract.envelope import refused
from tests.support.running_system import Caller, Clinic, RunningSystem

NUMBER = (int, float)
NULL = type(None)

STARTED = {
    "success": bool,
    "message": str,
    "operation_type": str,
    "expected_duration": str,
}
LOG = {
    "id": int,
    "organization_id": int,
    "operation_type": str,
    "status": str,
    "started_at": str,
    "completed_at": (str, NULL),
    "records_processed": int,
    "records_success": int,
    "records_failed": int,
    "metadata": dict,
    "error_details": (dict, NULL),
}
METADATA = {
    "patients_found": int,
    "patients_stored": int,
    "sync_type": str,
    "current_page": int,
    "total_pages": int,
    "progress_percent": NUMBER,
    "estimated_remaining": (str, NULL),
}
PATIENT = {
    "id": int,
    "cliniko_patient_id": str,
    "first_name": str,
    "last_name": str,
    "email": str,
    "phone": str,
    "date_of_birth": (str, NULL),
    "last_synced": str,
    "sync_status": str,
}


def shaped(value: dict[str, Any], shape: dict[str, Any]) -> None:
    """The value has each key of the shape, with a value of its type, the documented ones first."""
    assert list(value)[: len(shape)] == list(shape)
    for key, kind in shape.items():
        assert isinstance(value[key], kind), key
        assert not (kind is int and isinstance(value[key], bool)), key


def test_starting(clinic: Clinic) -> None:
    answer = clinic.manager.post(
        f"/cliniko/sync-all/{clinic.id}", headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 200
    shaped(answer.json(), STARTED)
    assert answer.json()["operation_type"] == "full_patients"
    list(clinic.polled())


def test_reading_logs_status_and_patients(clinic: Clinic) -> None:
    clinic.synced()
    reader = clinic.manager

    logs = reader.get(f"/cliniko/sync-logs/{clinic.id}?limit=1").json()
    shaped(logs, {"logs": list, "total_count": int, "has_more": bool})
    shaped(logs["logs"][0], LOG)
    shaped(logs["logs"][0]["metadata"], METADATA)
    for query in ("status=completed", "operation_type=full_patients", "status=completed&limit=100"):
        page = reader.get(f"/cliniko/sync-logs/{clinic.id}?{query}").json()
        assert page["total_count"] == 1

    status = reader.get(f"/cliniko/status/{clinic.id}").json()
    shaped(
        status,
        {"sync_status": str, "last_sync": str, "patient_counts": dict, "sync_duration": str},
    )
    assert status["operation_type"] == "full_patients"
    shaped(
        status["patient_counts"],
        {"total_in_cliniko": int, "synced_to_database": int, "success_rate": NUMBER},
    )

    path = f"/cliniko/active-patients/{clinic.id}"
    query = "limit=5&offset=1&search=&last_synced_after=2024-01-15T10:30:00Z"
    page = reader.get(f"{path}?{query}").json()
    shaped(page, {"patients": list, "pagination": dict})
    shaped(page["pagination"], {"total": int, "limit": int, "offset": int, "has_next": bool})
    assert page["pagination"] == {"total": 7, "limit": 5, "offset": 1, "has_next": True}
    for patient in page["patients"]:
        shaped(patient, PATIENT)


def test_testing_the_connection(clinic: Clinic) -> None:
    body = clinic.manager.get(f"/cliniko/test-connection/{clinic.id}").json()

    shaped(
        body,
        {
            "status": str,
            "total_patients": int,
            "api_version": str,
            "connection_test": str,
            "organization": dict,
        },
    )
    shaped(body["organization"], {"name": str, "cliniko_id": str})
    assert (body["status"], body["connection_test"]) == ("connected", "passed")


def test_every_documented_status_is_reached(system: RunningSystem, clinic: Clinic) -> None:
    start = "/cliniko/sync-all/{}"
    for org_id, caller, status, code in [
        ("abc", system.admin, 400, "INVALID_ORGANIZATION_ID"),
        (clinic.id, system.nobody, 401, "AUTHENTICATION_REQUIRED"),
        (99999, system.admin, 404, "ORGANIZATION_NOT_FOUND"),
    ]:
        refused(caller.post(start.format(org_id)), status, code)
    system.simulator.faults.add("slow", account=clinic.account.id, ms=800, times=None)
    clinic.start()
    refused(clinic.manager.post(start.format(clinic.id)), 429, "SYNC_ALREADY_RUNNING")
    system.simulator.faults.clear(account=clinic.account.id)
    list(clinic.polled())
    system.simulator.faults.add("status", account=clinic.account.id, status=401)
    refused(clinic.manager.get(f"/cliniko/test-connection/{clinic.id}"), 401, "CLINIKO_AUTH_FAILED")
    refused(
        clinic.viewer.get(f"/cliniko/test-connection/{clinic.id}"), 403, "INSUFFICIENT_PERMISSIONS"
    )
    refused(system.admin.get("/cliniko/test-connection/99999"), 404, "ORGANIZATION_NOT_FOUND")


def test_limits_and_their_headers_are_as_promised(clinic: Clinic) -> None:
    for name, limit in (("sync-logs", 60), ("status", 120), ("test-connection", 10)):
        headers = clinic.manager.get(f"/cliniko/{name}/{clinic.id}").headers
        told = [int(headers[f"X-RateLimit-{each}"]) for each in ("Limit", "Remaining")]
        assert told == [limit, limit - 1]
        assert 0 < int(headers["X-RateLimit-Reset"]) - time.time() <= 61


class DocumentedClient:
    """The loop and the calculation of the reference, step by step as they stand there."""

    def __init__(self, caller: Caller, org_id: int) -> None:
        self.caller = caller
        self.org_id = org_id

    def monitor_sync(self, update_progress: Callable[[dict[str, Any]], None]) -> None:
        while True:
            response = self.caller.get(f"/cliniko/sync-logs/{self.org_id}?limit=1")
            data = response.json()
            if len(data["logs"]) > 0:
                log = data["logs"][0]
                update_progress(log)
                if log["status"] == "completed" or log["status"] == "failed":
                    break
            time.sleep(2)

    def calculate_progress(self, log: dict[str, Any]) -> float:
        metadata = log.get("metadata")
        if metadata and metadata.get("progress_percent"):  # 0 counts as absent
            return float(metadata["progress_percent"])
        if log["records_processed"] > 0:
            return float(log["records_success"] / log["records_processed"] * 100)
        return 0


@pytest.mark.parametrize("fails", [False, True])
def test_the_documented_client_sees_its_own_sync_and_no_other(
    system: RunningSystem, fails: bool
) -> None:
    clinic = system.clinic(active=640, archived=5)
    system.simulator.faults.add("status", account=clinic.account.id, status=401)
    former = clinic.synced()
    system.simulator.faults.add("slow", account=clinic.account.id, ms=900, times=None)
    if fails:
        system.simulator.faults.add(
            "status", account=clinic.account.id, on="/patients", query="updated_at", status=403
        )
    started = clinic.start()
    client = DocumentedClient(clinic.manager, clinic.id)
    seen: list[dict[str, Any]] = []

    client.monitor_sync(seen.append)

    shown = [client.calculate_progress(log) for log in seen]
    assert {log["id"] for log in seen} == {started["sync_log_id"]} != {former["id"]}
    assert shown == sorted(shown)
    assert [log["status"] for log in seen[:-1]] == ["running"] * (len(seen) - 1)
    assert len(seen) >= 2
    for log, percent in zip(seen, shown, strict=True):
        if log["records_processed"] and log["status"] == "running":
            true = log["records_processed"] / log["metadata"]["patients_found"] * 100
            assert abs(percent - min(true, 99.9)) <= 0.1
    if fails:
        assert (seen[-1]["status"], shown[-1] < 100) == ("failed", True)
        assert seen[-1]["error_details"]["error_code"] == "CLINIKO_FORBIDDEN"
    else:
        assert (seen[-1]["status"], shown[-1]) == ("completed", 100.0)


def test_every_documented_error_code_is_one_that_is_used(system: RunningSystem) -> None:
    published: dict[str, Any] = requests.get(f"{system.url}/api/v1/openapi.json", timeout=30).json()
    codes = published["components"]["schemas"]["Error"]["properties"]["error_code"]["examples"]
    assert {
        "CLINIKO_AUTH_FAILED",
        "CLINIKO_RATE_LIMITED",
        "DATABASE_CONSTRAINT_ERROR",
        "SYNC_ALREADY_RUNNING",
        "ORGANIZATION_NOT_FOUND",
    } <= set(codes)
