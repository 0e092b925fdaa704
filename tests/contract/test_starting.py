"""Rules 7 to 11: starting a sync, the two kinds of 429, the queue away, the former address, what a
sync reads and whom it does not dare to mark."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from simulator.patient import State
from tests.contract.envelope import refused
from tests.support.processes import descendants
from tests.support.running_system import Clinic, RunningSystem, running_system
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin, User
from webapp.services import organizations
from webapp.sync import held
from webapp.sync.start import start_sync


@pytest.mark.rule(7)
def test_the_first_poll_sees_the_sync_that_was_started(
    system: RunningSystem, clinic: Clinic
) -> None:
    system.simulator.faults.add("status", account=clinic.account.id, status=401, times=1)
    former = clinic.synced()  # it fails, so another may be started at once

    started = clinic.start()
    seen = clinic.newest()

    assert (started["success"], started["operation_type"]) == (True, "full_patients")
    assert started["message"] == f"Full patient sync started for organization {clinic.id}"
    assert re.fullmatch("[0-9]+-[0-9]+ seconds", started["expected_duration"])
    assert seen["id"] == started["sync_log_id"] > former["id"]
    list(clinic.polled())


@pytest.mark.rule(7)
def test_the_expected_duration_comes_from_size_and_history(system: RunningSystem) -> None:
    def expected(clinic: Clinic) -> list[int]:
        found = re.fullmatch("([0-9]+)-([0-9]+) seconds", clinic.start()["expected_duration"])
        assert found is not None
        return [int(found[1]), int(found[2])]

    small, large, unknown = (system.clinic(active=number) for number in (5, 1500, 5))
    for clinic in (small, large):
        assert clinic.manager.get(f"/cliniko/test-connection/{clinic.id}").status_code == 200
    assert expected(unknown) == [30, 120]
    first = expected(large)
    assert expected(small) < first
    *_, log = large.polled()
    took = datetime.fromisoformat(log["completed_at"]) - datetime.fromisoformat(log["started_at"])
    assert took.total_seconds() <= first[1]
    for clinic in (small, unknown):
        list(clinic.polled())


@pytest.mark.rule(8)
def test_a_running_sync_and_a_used_window_are_two_refusals(
    system: RunningSystem, clinic: Clinic
) -> None:
    start = f"/cliniko/sync-all/{clinic.id}"
    system.simulator.faults.add("slow", account=clinic.account.id, ms=1500, times=None)
    started = clinic.start()

    answer = system.admin.post(start)
    details = refused(answer, 429, "SYNC_ALREADY_RUNNING")
    assert details["sync_log_id"] == started["sync_log_id"]
    assert details["progress_percent"] < 100
    assert details["started_at"].endswith("Z")
    assert int(answer.headers["Retry-After"]) >= 1

    system.simulator.faults.clear(account=clinic.account.id)
    *_, log = clinic.polled()
    answer = system.admin.post(start)
    details = refused(answer, 429, "RATE_LIMITED")
    until = datetime.fromisoformat(details["retry_at"]) - datetime.fromisoformat(log["started_at"])
    assert abs(until - timedelta(minutes=5)) <= timedelta(seconds=1)
    assert 280 <= int(answer.headers["Retry-After"]) <= 300


@pytest.mark.rule(8)
def test_a_failed_sync_and_new_credentials_give_the_window_back(
    system: RunningSystem, clinic: Clinic
) -> None:
    system.simulator.faults.add("status", account=clinic.account.id, status=401, times=1)
    assert clinic.synced()["error_details"]["error_code"] == "CLINIKO_AUTH_FAILED"
    assert clinic.synced()["status"] == "completed"
    refused(clinic.manager.post(f"/cliniko/sync-all/{clinic.id}"), 429, "RATE_LIMITED")

    system.inside(
        lambda: organizations.replace_key(db.session.get_one(Organization, clinic.id), clinic.key)
    )

    assert clinic.synced()["status"] == "completed"


@pytest.mark.rule(8)
def test_only_starts_that_people_ask_for_count(system: RunningSystem, clinic: Clinic) -> None:
    def by_schedule() -> None:
        organization = db.session.get_one(Organization, clinic.id)
        start_sync(organization, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)

    refused(clinic.viewer.post(f"/cliniko/sync-all/{clinic.id}"), 403, "INSUFFICIENT_PERMISSIONS")
    system.inside(by_schedule)
    list(clinic.polled())

    assert clinic.synced()["status"] == "completed"
    moved = clinic.manager.post(f"/cliniko/sync/{clinic.id}", allow_redirects=True)
    refused(moved, 429, "RATE_LIMITED")


@pytest.mark.rule(8)
def test_a_sync_of_changes_has_a_window_that_one_of_all_uses_up(clinic: Clinic) -> None:
    clinic.synced()
    refused(clinic.manager.post(f"/cliniko/sync-changes/{clinic.id}"), 429, "RATE_LIMITED")


@pytest.mark.rule(8)
def test_a_sync_of_changes_never_holds_up_one_of_all(system: RunningSystem, clinic: Clinic) -> None:
    changes = f"/cliniko/sync-changes/{clinic.id}"
    clinic.synced()
    system.inside(lambda: give_the_window_back(clinic.id))
    assert clinic.manager.post(changes).json()["operation_type"] == "changed_patients"
    list(clinic.polled())

    refused(clinic.manager.post(changes), 429, "RATE_LIMITED")
    assert clinic.synced()["operation_type"] == "full_patients"


@pytest.fixture
def without_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system whose Redis is there and says nothing: one that was killed would come back."""
    with running_system(tmp_path_factory.mktemp("without-redis")) as system:
        names = ("valkey-server", "redis-server")
        pids = [pid for pid in descendants(system.pid) if _program(pid).startswith(names)]
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield system
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


@pytest.mark.rule(9)
@pytest.mark.rule(25)
def test_without_the_queue_nothing_is_started_and_reads_go_on(
    without_redis: RunningSystem,
) -> None:
    clinic = without_redis.clinic()

    refused(clinic.manager.post(f"/cliniko/sync-all/{clinic.id}"), 503, "QUEUE_UNAVAILABLE")

    log = clinic.newest()
    assert (log["status"], log["error_details"]["error_code"]) == ("failed", "QUEUE_UNAVAILABLE")


@pytest.mark.rule(10)
def test_the_former_address_says_where_it_went(clinic: Clinic) -> None:
    answer = clinic.manager.post(f"/cliniko/sync/{clinic.id}")

    assert answer.status_code == 308
    assert answer.headers["Location"] == f"/api/v1/cliniko/sync-all/{clinic.id}"
    deprecated = re.fullmatch("@([0-9]+)", answer.headers["Deprecation"])
    assert deprecated is not None
    sunset = parsedate_to_datetime(answer.headers["Sunset"])
    assert int(deprecated[1]) < now().timestamp() < sunset.timestamp()
    assert 'rel="successor-version"' in answer.headers["Link"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["location"] == answer.headers["Location"]
    assert clinic.viewer.get(f"/cliniko/sync-logs/{clinic.id}").json()["logs"] == []

    followed = clinic.manager.post(f"/cliniko/sync/{clinic.id}", allow_redirects=True)
    assert followed.json()["operation_type"] == "full_patients"
    list(clinic.polled())


@pytest.mark.rule(11)
def test_a_full_sync_reads_active_archived_and_deleted_patients(
    system: RunningSystem, clinic: Clinic
) -> None:
    clinic.synced()

    asked = {each.path for each in system.simulator.requests if each.account == clinic.account.id}
    assert {"/patients", "/patients/archived", "/patients/deleted"} <= asked
    found = {
        state: clinic.manager.get(f"/cliniko/active-patients/{clinic.id}?state={state}").json()
        for state in ("active", "archived", "merged", "deleted", "all")
    }
    totals = {state: page["pagination"]["total"] for state, page in found.items()}
    assert totals["active"] == 7
    assert (totals["archived"], totals["merged"], totals["all"]) == (2, 1, 10 + totals["deleted"])


@pytest.mark.rule(11)
def test_a_sync_of_changes_reads_what_is_newer_than_the_last_one(
    system: RunningSystem, clinic: Clinic
) -> None:
    """And is one of all patients where none has completed in the last seven days."""

    def by_command(operation_type: OperationType) -> None:
        organization = db.session.get_one(Organization, clinic.id)
        start_sync(organization, operation_type, actor=None, origin=SyncOrigin.COMMAND)

    def synced() -> dict[str, Any]:
        system.inside(lambda: by_command(OperationType.CHANGED_PATIENTS))
        *_, log = clinic.polled()
        assert log["status"] == "completed"
        return log

    first = synced()
    assert first["operation_type"] == "full_patients"
    active = clinic.account.ids(State.ACTIVE)
    clinic.account.edit(active[0], email="another@example.com")
    clinic.account.archive(active[1])
    clinic.account.delete(active[2])
    clinic.account.create()
    asked = len(system.simulator.requests)

    log = synced()

    metadata = log["metadata"]
    assert log["operation_type"] == metadata["sync_type"] == "changed_patients"
    assert {key: count for key, count in metadata["changes"].items() if count} == {
        "added": 1,
        "updated": 1,
        "archived": 1,
        "deleted": 1,
        "fields": {"email": 1},
    }
    began = datetime.fromisoformat(first["started_at"])
    since = datetime.fromisoformat(metadata["changed_since"])
    assert abs(began - timedelta(minutes=5) - since) <= timedelta(seconds=5)
    filters = {
        (each.path, each.params["q[]"][0].partition(":")[0])
        for each in list(system.simulator.requests)[asked:]
        if each.account == clinic.account.id and "q[]" in each.params
    }
    assert filters == {
        ("/patients", "updated_at"),
        ("/patients/archived", "updated_at"),
        ("/patients/deleted", "deleted_at"),
    }

    system.simulator.faults.add("status", account=clinic.account.id, status=401, times=1)
    system.inside(lambda: by_command(OperationType.CHANGED_PATIENTS))
    *_, failed = clinic.polled()
    assert failed["status"] == "failed"
    again = synced()["metadata"]["changed_since"]
    assert again == failed["metadata"]["changed_since"]

    system.inside(lambda: a_week_passes(clinic.id))
    assert synced()["operation_type"] == "full_patients"


def a_week_passes(clinic_id: int) -> None:
    """Every sync of the clinic was so much longer ago."""
    with transaction() as session:
        for log in session.query(SyncLog).filter_by(organization_id=clinic_id):
            log.started_at -= timedelta(days=7, minutes=1)


@pytest.mark.rule(11)
def test_too_many_removals_are_held_until_an_admin_decides(system: RunningSystem) -> None:
    clinic = system.clinic(active=60)
    clinic.synced()
    gone = clinic.account.ids(State.ACTIVE)[:30]
    clinic.account.delete(*gone)
    system.inside(lambda: give_the_window_back(clinic.id))

    log = clinic.synced()

    metadata = log["metadata"]
    assert (metadata["removals_held"], metadata["removals_kept"]) == (30, 0)
    assert (metadata["removals_decision"], metadata["removals_decided_at"]) == (None, None)
    assert patients_deleted(clinic) == 1
    tag = clinic.viewer.get(f"/cliniko/sync-logs/{clinic.id}?limit=1").headers["ETag"]
    for decide, decision, deleted in [
        (held.dismiss, "dismissed", 1),
        (held.confirm, "confirmed", 31),
    ]:
        system.inside(partial(press, decide, clinic.id, log["id"], system.admin.user_id))
        answer = clinic.viewer.get(
            f"/cliniko/sync-logs/{clinic.id}?limit=1", headers={"If-None-Match": tag}
        )
        metadata = answer.json()["logs"][0]["metadata"]
        assert (metadata["removals_decision"], metadata["removals_held"]) == (decision, 30)
        assert metadata["removals_decided_at"].endswith("Z")
        assert patients_deleted(clinic) == deleted
        tag = answer.headers["ETag"]


def give_the_window_back(clinic_id: int) -> None:
    """As a new key does."""
    with transaction():
        db.session.get_one(Organization, clinic_id).credentials_saved_at = now()


def press(decide: Callable[..., int], clinic_id: int, log_id: int, user_id: int | None) -> int:
    """What the button of an admin does."""
    organization = db.session.get_one(Organization, clinic_id)
    actor = db.session.get_one(User, user_id)
    return decide(organization, db.session.get_one(SyncLog, log_id), actor=actor)


def patients_deleted(clinic: Clinic) -> int:
    page = clinic.manager.get(f"/cliniko/active-patients/{clinic.id}?state=deleted").json()
    total: int = page["pagination"]["total"]
    return total
