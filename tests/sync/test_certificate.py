"""The certificate of a completed sync: both sides by state, and one digest of ids and versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.cast import Cast
from tests.sync.logs import certificate_of
from webapp.extensions import db, transaction
from webapp.models import OperationType, Patient, SyncLog
from webapp.sync import engine, held
from webapp.sync.certificate import GONE, Tally, Version, tally_of_copy
from webapp.sync.upsert import Stored, store_pages
from webapp.sync.verify import verify

Sync = Callable[..., SyncLog]


def test_a_completed_sync_certifies_that_both_sides_are_the_same(sync: Sync) -> None:
    certificate = certificate_of(sync())

    assert certificate["in_step"]
    assert certificate["cliniko"] == certificate["stored"]
    states = {state: certificate["stored"][state] for state in ("active", "archived", "merged")}
    assert states == {"active": 602, "archived": 36, "merged": 5}
    assert certificate["stored"]["deleted"] == 5


def test_comparing_again_finds_both_sides_the_same_and_as_many_as_certified(
    sync: Sync, cast: Cast
) -> None:
    certificate = certificate_of(sync())

    verdict = verify(cast.surf)

    assert verdict.ours == verdict.theirs
    assert certificate["stored"] | {"digest": ""} == verdict.ours.to_json() | {"digest": ""}


def test_two_digests_of_the_same_patients_have_nothing_in_common(sync: Sync, cast: Cast) -> None:
    """Or their difference would be a hash of whoever came or was forgotten between."""
    first, second = sync(), sync()

    made = [certificate_of(log)["stored"]["digest"] for log in (first, second)]
    verdicts = [verify(cast.surf).ours.to_json()["digest"] for _ in range(2)]
    assert len({*made, *verdicts, tally_of_copy(cast.surf.id).to_json()["digest"]}) == 5
    assert certificate_of(first)["in_step"]
    assert certificate_of(second)["in_step"]
    assert (first.checkpoint, second.checkpoint) == (None, None)  # where their secrets stood


def test_a_sync_that_an_earlier_release_began_without_a_secret_is_certified(
    begin: Callable[[], SyncLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = begin()
    with monkeypatch.context() as patch:
        patch.setattr("webapp.sync.target.token_hex", lambda _: "")
        _end_at_the_page(3, patch)
        engine.run(log.id, 1, worker="first")
    with transaction():
        log.checkpoint = {
            name: value for name, value in (log.checkpoint or {}).items() if name != "secret"
        }

    engine.run(log.id, 2, worker="second")

    assert certificate_of(log)["in_step"]


def test_changes_while_reading_are_in_it(
    sync: Sync, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    sync()
    active, archived = surf_account.ids(State.ACTIVE), surf_account.ids(State.ARCHIVED)
    changes: dict[int, Callable[[], object]] = {
        4: lambda: surf_account.archive(active[0], active[-1]),
        6: lambda: surf_account.edit(active[1], first_name="Another"),
        8: lambda: surf_account.merge(active[2], into=active[3]),
        10: lambda: surf_account.unarchive(archived[0]),
        11: lambda: surf_account.create(first_name="New"),
        12: lambda: surf_account.delete(active[4]),
    }
    asked = len(cliniko.requests)

    def change(_path: str, _params: object, number: int) -> None:
        changes.pop(number - asked, lambda: None)()

    cliniko.before_request = change
    log = sync()

    assert not changes
    assert log.status == "completed"
    assert certificate_of(log)["in_step"]


def test_an_attempt_that_goes_on_counts_nobody_twice(
    begin: Callable[[], SyncLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = begin()
    with monkeypatch.context() as patch:
        _end_at_the_page(5, patch)
        engine.run(log.id, 1, worker="first")
    engine.run(log.id, 2, worker="second")

    assert certificate_of(log)["in_step"]
    assert certificate_of(log)["cliniko"]["active"] == 602


def _end_at_the_page(number: int, patch: pytest.MonkeyPatch) -> None:
    pages = iter(range(number))

    def end_soon(*args: Any, **options: Any) -> Stored:
        if next(pages, None) is None:
            raise engine.HandOver
        return store_pages(*args, **options)

    patch.setattr("webapp.sync.recorder.store_pages", end_soon)


def test_held_removals_are_not_in_step(sync: Sync, surf_account: ClinikoAccount) -> None:
    sync()
    surf_account.delete(*surf_account.ids(State.ACTIVE)[:60])

    certificate = certificate_of(sync())

    assert not certificate["in_step"]
    assert (certificate["cliniko"]["active"], certificate["stored"]["active"]) == (542, 602)
    assert certificate["cliniko"]["deleted"] == 65


def test_a_record_that_cannot_be_stored_is_not_in_step(
    sync: Sync, surf_account: ClinikoAccount
) -> None:
    surf_account.edit(surf_account.ids(State.ACTIVE)[7], date_of_birth="0000-00-00")

    certificate = certificate_of(sync())

    assert not certificate["in_step"]
    assert certificate["cliniko"]["active"] == 601  # those that could be read


def test_a_row_that_is_lost_on_the_way_is_found_out(
    sync: Sync, surf_account: ClinikoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = surf_account.ids(State.ACTIVE)[0]

    def lossy(*args: Any, **options: Any) -> Stored:
        stored = store_pages(*args, **options)
        db.session.execute(delete(Patient).where(Patient.cliniko_patient_id == somebody))
        return stored

    monkeypatch.setattr("webapp.sync.recorder.store_pages", lossy)
    log = sync()

    assert log.status == "completed"
    assert not certificate_of(log)["in_step"]


def test_a_sync_of_the_active_ones_certifies_nothing(sync: Sync) -> None:
    assert sync(OperationType.ACTIVE_PATIENTS).progress["certificate"] is None


def test_the_order_of_patients_does_not_matter_and_a_version_can_be_taken_back() -> None:
    one, two = Version("active", "a", ""), Version("merged", "b", "7")
    forth, back = Tally(), Tally()
    forth.add("1", one)
    forth.add("2", two)
    back.add("2", one)
    back.replace("2", one, two)
    back.add("1", one)

    assert forth == back == Tally.from_json(forth.to_json())
    back.replace("1", one, GONE)
    assert back.digest != forth.digest
    assert back.counts["deleted"] == 1


def test_kept_patients_are_told_as_deleted_there(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    sync()
    surf_account.delete(*surf_account.ids(State.ACTIVE)[:60])
    held.dismiss(cast.surf, sync(), actor=cast.alice)

    certificate = certificate_of(sync())

    assert not certificate["in_step"]
    assert (certificate["cliniko"]["deleted"], certificate["stored"]["deleted"]) == (65, 5)


def test_after_the_removals_are_confirmed_both_sides_are_the_same(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    sync()
    surf_account.delete(*surf_account.ids(State.ACTIVE)[:60])
    held.confirm(cast.surf, sync(), actor=cast.alice)

    certificate = certificate_of(sync())

    assert certificate["in_step"]
    assert certificate["stored"]["deleted"] == 65
