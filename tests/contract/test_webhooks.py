"""Rule 28: what a webhook's message holds, from the start of a sync to its receiver."""

from __future__ import annotations

import json

import pytest
from standardwebhooks import Webhook

from tests.support.processes import wait_until
from tests.support.receiver import Receiver, receiver
from tests.support.running_system import Clinic, RunningSystem
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncOrigin
from webapp.sync.start import start_sync


def added(clinic: Clinic, there: Receiver) -> str:
    """A webhook for everything, and its secret."""
    body = {"address": there.url, "events": ["sync.completed", "sync.failed"]}
    answer = clinic.manager.post(f"/cliniko/webhooks/{clinic.id}", json=body)
    assert answer.status_code == 201, answer.text
    secret: str = answer.json()["secret"]
    return secret


@pytest.mark.rule(28)
def test_a_completed_sync_is_told_with_five_keys_and_ours_in_data_only(clinic: Clinic) -> None:
    with receiver() as there:
        secret = added(clinic, there)
        log = clinic.synced()
        wait_until(lambda: len(there.received) == 1)

    (came,) = there.received
    told = Webhook(secret).verify(came.body, dict(came.headers))
    assert list(told) == ["event", "organization_id", "data"]
    assert (told["event"], told["organization_id"]) == ("sync.completed", clinic.id)
    assert list(told["data"])[:3] == ["patients_synced", "duration", "success_rate"]
    assert told["data"]["patients_synced"] == log["records_success"]
    assert told["data"]["success_rate"] == 100.0
    assert told["data"]["duration"].endswith("s")
    assert told["data"]["sync_log_id"] == log["id"]


@pytest.mark.rule(28)
def test_nothing_of_a_patient_is_in_it(system: RunningSystem, clinic: Clinic) -> None:
    clinic.synced()
    patients = clinic.manager.get(f"/cliniko/active-patients/{clinic.id}").json()["patients"]
    system.simulator.faults.add("status", account=clinic.account.id, status=401, times=None)
    with receiver() as there:
        secret = added(clinic, there)
        system.inside(lambda: _start(clinic))
        wait_until(lambda: len(there.received) == 1)

    (came,) = there.received
    assert Webhook(secret).verify(came.body, dict(came.headers))["event"] == "sync.failed"
    assert json.loads(came.body)["data"]["error_code"] == "CLINIKO_AUTH_FAILED"
    assert patients
    for patient in patients:
        words = (patient["email"], f"{patient['first_name']} {patient['last_name']}")
        assert not [word for word in words if word.strip() and word in came.body.decode()]


def _start(clinic: Clinic) -> None:
    """By command line, which is not limited to one in five minutes."""
    organization = db.session.get_one(Organization, clinic.id)
    start_sync(organization, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
