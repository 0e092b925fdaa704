"""Rule 27: the feed of changes."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.patient import State
from tests.contract.envelope import refused
from tests.support.running_system import Clinic, RunningSystem
from webapp.clock import now
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncOrigin
from webapp.services import changes
from webapp.sync.start import start_sync

Json = dict[str, Any]


def followed(clinic: Clinic, cursor: int | None, *, limit: int = 4) -> tuple[list[Json], int]:
    """All changes behind a cursor, and the cursor to go on from."""
    found: list[Json] = []
    while True:
        behind = "" if cursor is None else f"&cursor={cursor}"
        answer = clinic.manager.get(f"/cliniko/changes/{clinic.id}?limit={limit}{behind}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["changes"]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            return found, cursor


@pytest.mark.rule(27)
def test_who_follows_the_changes_has_every_patient(system: RunningSystem, clinic: Clinic) -> None:
    def sync_changes() -> None:
        organization = db.session.get_one(Organization, clinic.id)
        start_sync(
            organization, OperationType.CHANGED_PATIENTS, actor=None, origin=SyncOrigin.COMMAND
        )

    clinic.synced()
    added, cursor = followed(clinic, None)
    assert [each["id"] for each in added] == list(range(1, len(added) + 1))
    assert {each["cliniko_patient_id"] for each in added} == set(clinic.account.ids())
    active, archived = clinic.account.ids(State.ACTIVE), clinic.account.ids(State.ARCHIVED)
    clinic.account.edit(active[0], email="canary@example.com", first_name="Canary")
    clinic.account.archive(active[1])
    clinic.account.merge(active[2], into=active[0])
    clinic.account.delete(active[3])
    clinic.account.unarchive(archived[0])
    system.inside(sync_changes)
    list(clinic.polled())

    found, cursor = followed(clinic, cursor)

    assert {each["cliniko_patient_id"]: each["kind"] for each in found} == {
        active[0]: "updated",
        active[1]: "archived",
        active[2]: "merged",
        active[3]: "deleted",
        archived[0]: "restored",
    }
    (updated,) = [each for each in found if each["kind"] == "updated"]
    assert updated["fields"] == ["first_name", "email"]
    assert "anary" not in str(found)
    assert followed(clinic, cursor) == ([], cursor)


@pytest.mark.rule(27)
def test_a_cursor_from_before_what_is_kept_is_told_so(
    system: RunningSystem, clinic: Clinic
) -> None:
    clinic.synced()
    found, newest = followed(clinic, None)
    path = f"/cliniko/changes/{clinic.id}"
    refused(clinic.manager.get(f"{path}?cursor={newest + 1}"), 410, "CURSOR_EXPIRED")

    system.inside(lambda: list(iter(lambda: changes.delete_old(now()), 0)))

    refused(clinic.manager.get(f"{path}?cursor={found[0]['id']}"), 410, "CURSOR_EXPIRED")
    assert followed(clinic, newest) == ([], newest)
    assert followed(clinic, None) == ([], newest)


@pytest.mark.rule(27)
@pytest.mark.rule(4)
def test_viewers_and_other_clinics_may_not_follow(clinic: Clinic, other: Clinic) -> None:
    for caller in (clinic.viewer, other.manager, other.viewer):
        refused(caller.get(f"/cliniko/changes/{clinic.id}"), 403, "INSUFFICIENT_PERMISSIONS")
