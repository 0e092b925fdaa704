"""GET /api/v1/cliniko/status/{orgId}"""

from __future__ import annotations

import re
from contextvars import Context
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, update

from tests.api.rows import MORNING, make_log, record, store
from tests.cast import Cast
from tests.support.databases import on_both
from webapp.cliniko.records import PatientState
from webapp.clock import iso, now
from webapp.extensions import db
from webapp.models import OperationType, SyncLog, SyncStatus


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/status/{cast.surf.id}"


def test_before_the_first_sync(vera: FlaskClient, url: str) -> None:
    answer = vera.get(url)

    assert answer.status_code == 200
    assert answer.get_json() == {
        "sync_status": "never_synced",
        "last_sync": None,
        "patient_counts": {
            "total_in_cliniko": None,
            "synced_to_database": 0,
            "forgotten": 0,
            "success_rate": None,
        },
        "sync_duration": None,
        "duration_seconds": None,
        "operation_type": None,
    }


def test_after_a_sync_that_completed(vera: FlaskClient, url: str, cast: Cast) -> None:
    make_log(cast.surf, records_success=648, progress={"active_found": 602})

    assert vera.get(url).get_json() == {
        "sync_status": "completed",
        "last_sync": "2026-03-02T09:34:22Z",
        "patient_counts": {
            "total_in_cliniko": 602,
            "synced_to_database": 0,
            "forgotten": 0,
            "success_rate": 100.0,
        },
        "sync_duration": "4m 22s",
        "duration_seconds": 262,
        "operation_type": "full_patients",
    }


def test_active_patients_are_what_is_counted(vera: FlaskClient, url: str, cast: Cast) -> None:
    store(
        cast.surf,
        record(1, "Ada", "Byron"),
        record(2, "Bea", "Cole", state=PatientState.ARCHIVED, archived_at=MORNING),
    )

    assert vera.get(url).get_json()["patient_counts"]["synced_to_database"] == 1


def test_a_failure_does_not_move_last_sync(vera: FlaskClient, url: str, cast: Cast) -> None:
    make_log(cast.surf)
    make_log(
        cast.surf,
        SyncStatus.FAILED,
        operation_type=OperationType.ACTIVE_PATIENTS,
        started_at=MORNING + timedelta(days=1),
        records_success=999,
        records_failed=1,
    )

    status = vera.get(url).get_json()

    assert status["sync_status"] == "failed"
    assert status["last_sync"] == "2026-03-02T09:34:22Z"
    assert status["operation_type"] == "active_patients"
    # Rounded down: 100.0 is kept for syncs in which nothing failed.
    assert status["patient_counts"]["success_rate"] == 99.9


def test_while_a_sync_runs(bob: FlaskClient, url: str, cast: Cast) -> None:
    make_log(cast.surf)
    bob.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}")

    status = bob.get(url).get_json()

    assert status["sync_status"] == "running"
    assert status["last_sync"] == "2026-03-02T09:34:22Z"
    assert status["sync_duration"] is None


@on_both
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_sync_that_completes_between_two_questions_is_told_of_whole_or_not_at_all(
    vera: FlaskClient, url: str, cast: Cast, before: bool, number: int
) -> None:
    """On PostgreSQL each question sees its own moment."""
    earlier = make_log(cast.surf) if before else None
    log = make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    done = update(SyncLog).where(SyncLog.id == log.id)
    asked: list[str] = []

    def complete(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM sync_logs" not in statement:
            return
        asked.append(statement)
        if len(asked) == number:
            with db.engine.begin() as theirs:
                theirs.execute(done.values(status=SyncStatus.COMPLETED, completed_at=now()))

    event.listen(db.engine, "after_cursor_execute", complete)
    status = Context().run(vera.get, url).get_json()  # what this test holds must not be found again
    event.remove(db.engine, "after_cursor_execute", complete)

    db.session.rollback()
    assert log.status == SyncStatus.COMPLETED
    so_far = iso(earlier.completed_at) if earlier and earlier.completed_at else None
    whole = ("completed", iso(log.completed_at)) if log.completed_at else None
    assert (status["sync_status"], status["last_sync"]) in [("running", so_far), whole]


def test_one_clinic_says_nothing_of_another(vera: FlaskClient, url: str, cast: Cast) -> None:
    make_log(cast.northside)

    assert vera.get(url).get_json()["sync_status"] == "never_synced"


def test_patients_are_counted_anew_only_after_something_has_changed(
    vera: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, record(1, "Ada", "Byron"))
    asked: list[str] = []

    @event.listens_for(db.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        asked.extend(re.findall(r"FROM patients", statement))

    def counted() -> int:
        count: int = vera.get(url).get_json()["patient_counts"]["synced_to_database"]
        return count

    assert (counted(), counted(), len(asked)) == (1, 1, 1)
    store(cast.surf, record(2, "Bea", "Cole"))
    asked.clear()
    assert (counted(), counted(), len(asked)) == (2, 2, 1)
