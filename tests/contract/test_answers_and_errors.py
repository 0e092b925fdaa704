"""Rules 1 to 6: the shape of errors, ids, who may, the order of checks, times."""

from __future__ import annotations

import re

import pytest

from tests.contract.envelope import refused
from tests.support.running_system import Clinic, RunningSystem


@pytest.mark.rule(1)
def test_every_error_has_one_shape(system: RunningSystem, clinic: Clinic) -> None:
    admin, sync_logs = system.admin, f"/cliniko/sync-logs/{clinic.id}"
    answers = [
        (admin.get("//api/v1/nothing-here"), 404, "NOT_FOUND"),
        (admin.get("//api"), 404, "NOT_FOUND"),
        (admin.ask("DELETE", sync_logs), 405, "METHOD_NOT_ALLOWED"),
        (system.nobody.get(sync_logs), 401, "AUTHENTICATION_REQUIRED"),
        (admin.get(f"{sync_logs}?limit=x"), 400, "VALIDATION_ERROR"),
        (admin.get("/cliniko/sync-logs/abc"), 400, "INVALID_ORGANIZATION_ID"),
        (admin.get("/cliniko/sync-logs/99999"), 404, "ORGANIZATION_NOT_FOUND"),
        (clinic.viewer.post(f"/cliniko/cancel/{clinic.id}"), 403, "INSUFFICIENT_PERMISSIONS"),
        (admin.post(f"/cliniko/cancel/{clinic.id}"), 409, "SYNC_NOT_RUNNING"),
        (system.nobody.post("/auth/token", data="{"), 415, "VALIDATION_ERROR"),
        (system.nobody.post("/auth/token", json={}), 400, "VALIDATION_ERROR"),
        (system.nobody.post("/auth/token", json="a" * 2**20), 413, "PAYLOAD_TOO_LARGE"),
        (admin.get("/organizations?a=%ff"), 400, "VALIDATION_ERROR"),
    ]
    for answer, status, error_code in answers:
        refused(answer, status, error_code)
    ids = {answer.headers["X-Request-ID"] for answer, *_ in answers}
    assert len(ids) == len(answers)
    assert system.admin.get("/organizations").headers["X-Request-ID"]


@pytest.mark.rule(2)
def test_every_code_is_documented(system: RunningSystem) -> None:
    page = system.nobody.get("//api/docs").text
    promised = """AUTHENTICATION_REQUIRED INSUFFICIENT_PERMISSIONS INVALID_ORGANIZATION_ID
        VALIDATION_ERROR NOT_FOUND METHOD_NOT_ALLOWED RATE_LIMITED QUEUE_UNAVAILABLE
        CLINIKO_FORBIDDEN CLINIKO_UNAVAILABLE CLINIKO_BAD_RESPONSE CLINIKO_NOT_CONFIGURED
        SYNC_CANCELLED SYNC_INTERRUPTED SYNC_NOT_RUNNING INTERNAL_ERROR CLINIKO_AUTH_FAILED
        CLINIKO_RATE_LIMITED DATABASE_CONSTRAINT_ERROR SYNC_ALREADY_RUNNING
        ORGANIZATION_NOT_FOUND"""
    for code in promised.split():
        assert f'<dt id="{code}">' in page


@pytest.mark.rule(3)
def test_an_id_is_a_plain_whole_number(system: RunningSystem, clinic: Clinic) -> None:
    for odd in ("abc", "0", "-1", "01", "1.0", "9" * 17, "%EF%BC%91", "1%00", "null"):
        refused(system.admin.get(f"/cliniko/status/{odd}"), 400, "INVALID_ORGANIZATION_ID")
    clinic.synced()
    patients = clinic.manager.get(f"/cliniko/active-patients/{clinic.id}").json()["patients"]
    assert clinic.newest()["organization_id"] == clinic.id
    assert all(re.fullmatch("[0-9]+", each["cliniko_patient_id"]) for each in patients)


@pytest.mark.rule(4)
def test_everybody_may_what_their_role_allows_in_their_own_clinic(
    system: RunningSystem, clinic: Clinic, other: Clinic
) -> None:
    reads, others = ("sync-logs", "status"), ("active-patients", "test-connection")
    for name in reads:
        for caller in (system.admin, clinic.manager, clinic.viewer):
            assert caller.get(f"/cliniko/{name}/{clinic.id}").status_code == 200
    for name in others:
        for caller in (system.admin, clinic.manager):
            assert caller.get(f"/cliniko/{name}/{clinic.id}").status_code == 200
        answer = clinic.viewer.get(f"/cliniko/{name}/{clinic.id}")
        refused(answer, 403, "INSUFFICIENT_PERMISSIONS")
    for name in (*reads, *others):
        refused(system.admin.get(f"/cliniko/{name}/99999"), 404, "ORGANIZATION_NOT_FOUND")
        for caller in (other.manager, other.viewer):
            existing = caller.get(f"/cliniko/{name}/{clinic.id}")
            missing = caller.get(f"/cliniko/{name}/99999")
            refused(existing, 403, "INSUFFICIENT_PERMISSIONS")
            assert existing.text.replace(str(clinic.id), "99999", 1) == missing.text


@pytest.mark.rule(5)
def test_checks_run_in_their_order(system: RunningSystem, clinic: Clinic, other: Clinic) -> None:
    refused(system.nobody.post("/cliniko/sync-all/abc"), 401, "AUTHENTICATION_REQUIRED")
    refused(other.viewer.post("/cliniko/sync-all/abc"), 400, "INVALID_ORGANIZATION_ID")
    system.simulator.faults.add("slow", account=clinic.account.id, ms=1500, times=None)
    started = clinic.start()
    start = f"/cliniko/sync-all/{clinic.id}"
    refused(other.manager.post(start), 403, "INSUFFICIENT_PERMISSIONS")
    details = refused(clinic.manager.post(start), 429, "SYNC_ALREADY_RUNNING")
    assert details["sync_log_id"] == started["sync_log_id"]
    system.simulator.faults.clear(account=clinic.account.id)
    list(clinic.polled())
    refused(clinic.manager.post(start), 429, "RATE_LIMITED")


@pytest.mark.rule(6)
def test_times_are_in_utc_and_birthdays_are_dates(clinic: Clinic) -> None:
    log = clinic.synced()
    patients = clinic.manager.get(f"/cliniko/active-patients/{clinic.id}").json()["patients"]
    moments = [log["started_at"], log["completed_at"]]
    moments += [each[key] for each in patients for key in ("last_synced", "last_changed")]
    for moment in moments:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)
    for patient in patients:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", patient["date_of_birth"] or "1985-03-15")
    truth = {each.id: each.record()["date_of_birth"] for each in clinic.account.patients()}
    assert {p["cliniko_patient_id"]: p["date_of_birth"] for p in patients}.items() <= {
        str(key): value for key, value in truth.items()
    }.items()
