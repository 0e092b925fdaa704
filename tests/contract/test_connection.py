"""Rules 22 and 23: what a connection test says of each trouble, and whose account a key opens."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.contract.envelope import refused
from tests.support.running_system import Clinic, RunningSystem
from webapp.services import organizations


def outcome_of(clinic: Clinic) -> requests.Response:
    return clinic.manager.get(f"/cliniko/test-connection/{clinic.id}")


@pytest.mark.rule(22)
def test_a_good_key_tells_whose_it_is(clinic: Clinic) -> None:
    assert outcome_of(clinic).json() == {
        "status": "connected",
        "total_patients": 7,
        "api_version": "v1",
        "connection_test": "passed",
        "organization": {"name": clinic.name, "cliniko_id": clinic.account.id},
    }


@pytest.mark.rule(22)
@pytest.mark.parametrize(
    ("fault", "status", "error_code"),
    [
        ({"kind": "status", "status": 401}, 401, "CLINIKO_AUTH_FAILED"),
        ({"kind": "status", "status": 403}, 403, "CLINIKO_FORBIDDEN"),
        ({"kind": "rate_limited", "retry_after": 30}, 503, "CLINIKO_RATE_LIMITED"),
        ({"kind": "status", "status": 500}, 502, "CLINIKO_UNAVAILABLE"),
        ({"kind": "html_200"}, 502, "CLINIKO_BAD_RESPONSE"),
        ({"kind": "hang", "seconds": 60}, 504, "CLINIKO_UNAVAILABLE"),
    ],
)
def test_trouble_at_cliniko_has_a_name(
    system: RunningSystem, clinic: Clinic, fault: dict[str, Any], status: int, error_code: str
) -> None:
    system.simulator.faults.add(**fault, account=clinic.account.id, times=None)
    try:
        answer = outcome_of(clinic)
    finally:
        system.simulator.faults.clear()

    details = refused(answer, status, error_code)
    assert details["organization_id"] == clinic.id
    assert details["failed_at"].endswith("Z")
    assert ("Retry-After" in answer.headers) == (error_code == "CLINIKO_RATE_LIMITED")


@pytest.mark.rule(22)
def test_without_a_key_nothing_is_asked(system: RunningSystem) -> None:
    keyless = system.inside(lambda: organizations.add("No key yet").id)

    answer = system.admin.get(f"/cliniko/test-connection/{keyless}")

    refused(answer, 401, "CLINIKO_NOT_CONFIGURED")


@pytest.mark.rule(23)
def test_a_key_of_another_account_is_refused(
    system: RunningSystem, clinic: Clinic, other: Clinic
) -> None:
    clinic.synced()
    before = clinic.manager.get(f"/cliniko/active-patients/{clinic.id}").text
    (user, *_), (stranger, *_) = clinic.account.users, other.account.users
    stranger.keys[clinic.key] = user.keys.pop(clinic.key)

    refused(outcome_of(clinic), 409, "CLINIKO_ACCOUNT_MISMATCH")
    assert clinic.manager.get(f"/cliniko/active-patients/{clinic.id}").text == before
