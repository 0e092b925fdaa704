"""Rules 12 to 16: the status of a sync, paging, progress, time remaining, why it failed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from simulator.patient import State
from tests.api.rows import make_log
from tests.contract.envelope import refused
from tests.support.running_system import Clinic, RunningSystem
from webapp.clock import now
from webapp.extensions import db
from webapp.models import Organization, SyncStatus

PHASES = ["queued", "connecting", "fetching", "reconciling", "waiting", "finished"]


def failed_with(clinic: Clinic) -> str:
    log = clinic.newest()
    assert log["status"] == "failed"
    code: str = log["error_details"]["error_code"]
    return code


@pytest.mark.rule(12)
def test_a_sync_runs_through_its_phases_to_one_of_two_ends(
    system: RunningSystem, clinic: Clinic
) -> None:
    system.simulator.faults.add("slow", account=clinic.account.id, ms=700, times=None)
    clinic.start()

    seen = list(clinic.polled())

    assert [log["status"] for log in seen] == ["running"] * (len(seen) - 1) + ["completed"]
    phases = [log["metadata"]["phase"] for log in seen]
    assert phases == sorted(phases, key=PHASES.index)
    assert (len(set(phases)) > 1, phases[-1]) == (True, "finished")


@pytest.mark.rule(12)
def test_waiting_for_clinikos_limit_is_told(system: RunningSystem, clinic: Clinic) -> None:
    system.simulator.faults.add(
        "rate_limited", account=clinic.account.id, on="/patients", reset_in_s=4
    )
    clinic.start()

    seen = list(clinic.polled())

    (waiting, *_) = [log for log in seen if log["metadata"]["phase"] == "waiting"]
    assert waiting["status"] == "running"
    assert waiting["metadata"]["waiting_until"].endswith("Z")
    assert waiting["metadata"]["waiting_for"] == "rate_limited"
    assert seen[-1]["status"] == "completed"


@pytest.mark.rule(12)
def test_a_cancelled_sync_has_failed(system: RunningSystem, clinic: Clinic) -> None:
    system.simulator.faults.add("slow", account=clinic.account.id, ms=1500, times=None)
    started = clinic.start()

    answer = clinic.manager.post(f"/cliniko/cancel/{clinic.id}")

    assert answer.status_code == 200
    assert answer.json()["sync_log_id"] == started["sync_log_id"]
    system.simulator.faults.clear(account=clinic.account.id)
    list(clinic.polled())
    assert failed_with(clinic) == "SYNC_CANCELLED"
    refused(clinic.manager.post(f"/cliniko/cancel/{clinic.id}"), 409, "SYNC_NOT_RUNNING")


@pytest.mark.rule(12)
def test_a_sync_whose_worker_was_lost_has_failed(system: RunningSystem, clinic: Clinic) -> None:
    long_ago = now() - timedelta(minutes=10)

    def lose() -> None:
        make_log(
            db.session.get_one(Organization, clinic.id),
            SyncStatus.RUNNING,
            started_at=long_ago,
            worker="lost",
            lease_expires_at=long_ago,
            interruptions=2,
        )

    system.inside(lose)

    assert failed_with(clinic) == "SYNC_INTERRUPTED"


@pytest.mark.rule(12)
@pytest.mark.rule(16)
def test_a_sync_with_some_records_failing_completes_and_tells_which(
    system: RunningSystem, clinic: Clinic
) -> None:
    broken = clinic.account.ids()[0]
    clinic.account.edit(broken, date_of_birth="the first of May")

    log = clinic.synced()

    assert (log["status"], log["records_failed"]) == ("completed", 1)
    assert log["error_details"] is None
    one = clinic.viewer.get(f"/cliniko/sync-logs/{clinic.id}/{log['id']}").json()
    (failure,) = one["failures"]
    assert failure["cliniko_patient_id"] == broken
    assert failure["page"] >= 1
    assert failure["reason"]
    assert "first of May" not in str(one)


@pytest.mark.rule(13)
def test_syncs_come_newest_first_in_pages(system: RunningSystem, clinic: Clinic) -> None:
    def make() -> None:
        for number in range(12):
            organization = db.session.get_one(Organization, clinic.id)
            make_log(organization, SyncStatus.FAILED if number % 4 else SyncStatus.COMPLETED)

    system.inside(make)

    def page(query: str) -> tuple[list[int], int, bool]:
        body = clinic.viewer.get(f"/cliniko/sync-logs/{clinic.id}{query}").json()
        return [log["id"] for log in body["logs"]], body["total_count"], body["has_more"]

    ids, total, has_more = page("")
    assert (len(ids), total, has_more) == (10, 12, True)
    assert page("?offset=10")[0] == [id_ for id_ in page("?limit=100")[0] if id_ < ids[-1]]
    assert page("?limit=1000") == (sorted(page("?limit=1000")[0], reverse=True), 12, False)
    assert page("?status=completed")[1:] == (3, False)
    assert page("?operation_type=active_patients") == ([], 0, False)


@pytest.mark.rule(13)
@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=ten",
        "offset=-1",
        "status=done",
        "operation_type=all",
        "limit=1&limit=2",
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(clinic: Clinic, query: str) -> None:
    answer = clinic.viewer.get(f"/cliniko/sync-logs/{clinic.id}?{query}")

    details = refused(answer, 400, "VALIDATION_ERROR")
    assert details == {"organization_id": clinic.id, "parameter": query.partition("=")[0]}


@pytest.mark.rule(14)
@pytest.mark.rule(15)
def test_progress_is_true_at_every_step(system: RunningSystem) -> None:
    clinic = system.clinic(active=950, archived=120, merged=3, deleted=4)
    clinic.account.edit(clinic.account.ids(State.ACTIVE)[3], date_of_birth=True)
    system.simulator.faults.add("slow", account=clinic.account.id, ms=400, times=None)
    clinic.start()

    seen = list(clinic.polled())

    before = 0.0
    for log in seen:
        metadata, processed = log["metadata"], log["records_processed"]
        percent = metadata["progress_percent"]
        assert processed == log["records_success"] + log["records_failed"]
        assert metadata["patients_stored"] == log["records_success"]
        assert before <= percent <= (100 if log["status"] == "completed" else 99.9)
        if processed:
            assert percent >= 0.1
            assert abs(percent - min(processed / metadata["patients_found"] * 100, 99.9)) <= 0.1
            some_left = processed < metadata["patients_found"]  # of those that were promised
            assert metadata["estimated_remaining"] or not some_left
        remaining = metadata["estimated_remaining"]
        assert remaining is None or re.fullmatch("[0-9]+ (second|minute|hour)s?.*", remaining)
        assert metadata["current_page"] <= metadata["total_pages"]
        before = percent
    last = seen[-1]
    assert len({log["metadata"]["progress_percent"] for log in seen}) >= 3
    assert (last["status"], last["metadata"]["progress_percent"]) == ("completed", 100.0)
    assert last["metadata"]["estimated_remaining"] is None
    assert last["records_failed"] == 1
    assert last["records_processed"] == last["metadata"]["patients_found"] == 1077
    assert all(log["metadata"]["certificate"] is None for log in seen[:-1])
    assert last["metadata"]["certificate"]["in_step"] is False  # one record could not be read


@pytest.mark.rule(14)
def test_a_completed_sync_certifies_that_both_sides_are_the_same(clinic: Clinic) -> None:
    certificate = clinic.synced()["metadata"]["certificate"]

    assert certificate["in_step"] is True
    assert certificate["stored"] == certificate["cliniko"]
    assert {state: certificate["stored"][state] for state in ("active", "archived")} == {
        "active": len(clinic.account.ids(State.ACTIVE)),
        "archived": len(clinic.account.ids(State.ARCHIVED)),
    }


@pytest.mark.rule(14)
def test_an_empty_clinic_completes(system: RunningSystem) -> None:
    log = system.clinic(active=0, archived=0, merged=0, deleted=0).synced()

    assert (log["status"], log["records_processed"]) == ("completed", 0)
    assert (log["metadata"]["patients_found"], log["metadata"]["progress_percent"]) == (0, 100.0)


@pytest.mark.rule(16)
def test_a_failed_sync_says_why(system: RunningSystem, clinic: Clinic) -> None:
    system.simulator.faults.add("status", account=clinic.account.id, status=403, times=1)

    log = clinic.synced()

    assert list(log["error_details"]) == ["error_code", "message", "failed_at"]
    assert log["error_details"]["error_code"] == "CLINIKO_FORBIDDEN"
    assert log["error_details"]["failed_at"] == log["completed_at"]
