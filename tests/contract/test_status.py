"""Rule 17: where a clinic stands."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.running_system import Clinic, RunningSystem


def status_of(clinic: Clinic) -> dict[str, Any]:
    answer = clinic.viewer.get(f"/cliniko/status/{clinic.id}")
    assert answer.status_code == 200
    status: dict[str, Any] = answer.json()
    return status


@pytest.mark.rule(17)
def test_the_summary_is_of_active_patients_and_of_the_last_completed_sync(
    system: RunningSystem, clinic: Clinic
) -> None:
    assert status_of(clinic)["sync_status"] == "never_synced"
    assert status_of(clinic)["patient_counts"]["success_rate"] is None

    clinic.account.edit(clinic.account.ids()[0], date_of_birth="nonsense")
    system.simulator.faults.add("status", account=clinic.account.id, status=401, times=1)
    clinic.synced()
    failed = status_of(clinic)
    assert (failed["sync_status"], failed["last_sync"]) == ("failed", None)

    log = clinic.synced()
    status = status_of(clinic)

    assert (status["sync_status"], status["last_sync"]) == ("completed", log["completed_at"])
    counts = status["patient_counts"]
    assert counts["total_in_cliniko"] == 7
    assert counts["synced_to_database"] == 6
    assert (
        counts["success_rate"] == int(log["records_success"] * 1000 / log["records_processed"]) / 10
    )
    assert counts["success_rate"] < 100
    assert re.fullmatch("([0-9]+h )?([0-9]+m )?[0-9]+s", status["sync_duration"])
    assert isinstance(status["duration_seconds"], int)
    assert status["operation_type"] == "full_patients"
