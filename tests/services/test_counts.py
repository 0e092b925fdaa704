"""How many patients a clinic has, told without counting wherever somebody has counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from simulator.server import Simulator
from tests.cast import Cast
from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, SyncOrigin
from webapp.services import counts
from webapp.sync.start import start_sync

ALL = {
    PatientState.ACTIVE: 602,
    PatientState.ARCHIVED: 36,
    PatientState.MERGED: 5,
    PatientState.DELETED: 5,
}


@pytest.fixture
def synced(cast: Cast, work: Callable[[], None]) -> Organization:
    """Surf Rehab after its first sync."""
    start_sync(cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    work()
    db.session.expire_all()
    return cast.surf


def test_a_completed_sync_has_counted(synced: Organization) -> None:
    with _countings() as counted:
        assert counts.by_state(synced) == ALL
    assert counted == []


def test_a_decision_about_removals_is_counted_anew(synced: Organization) -> None:
    with transaction() as session:
        session.get_one(Organization, synced.id).patients_changed_at = now()

    with _countings() as counted:
        assert counts.by_state(synced) == ALL
    assert len(counted) == 1


def test_a_failed_sync_is_counted_after(
    synced: Organization, cliniko: Simulator, work: Callable[[], None]
) -> None:
    cliniko.accounts = ()
    organization_id = synced.id
    start_sync(synced, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    work()
    db.session.expire_all()

    with _countings() as counted:
        assert counts.by_state(db.session.get_one(Organization, organization_id)) == ALL
    assert len(counted) == 1


@contextmanager
def _countings() -> Iterator[list[str]]:
    """The statements that count patients."""
    made: list[str] = []

    def look(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "count(" in statement and "patients" in statement:
            made.append(statement)

    event.listen(db.engine, "before_cursor_execute", look)
    try:
        yield made
    finally:
        event.remove(db.engine, "before_cursor_execute", look)
