"""Comparing the copy with Cliniko: what is missing, extra or different, and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, update

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.cast import Cast
from tests.sync.copies import copy_of
from webapp.errors import AccountMismatch
from webapp.extensions import transaction
from webapp.models import Organization, Patient, SyncLog
from webapp.sync import verify as verify_module
from webapp.sync.certificate import Tally
from webapp.sync.verify import verify

Sync = Callable[[], SyncLog]


def test_after_a_sync_both_sides_hold_the_same(cast: Cast, sync: Sync) -> None:
    sync()

    verdict = verify(cast.surf)

    assert verdict.in_step
    assert verdict.ours == verdict.theirs
    assert verdict.theirs.counts == Counter(active=602, archived=36, merged=5, deleted=5)


def test_before_the_first_sync_everybody_is_missing(
    cast: Cast, surf_account: ClinikoAccount
) -> None:
    verdict = verify(cast.surf)

    assert not verdict.in_step
    assert verdict.missing == sorted(surf_account.ids(), key=int)
    assert (verdict.extra, verdict.different, verdict.ours) == ([], [], Tally())


def test_what_has_changed_in_cliniko_since_is_named(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    sync()
    edited, archived, merged, deleted = surf_account.ids(State.ACTIVE)[:4]
    surf_account.edit(edited, first_name="Another")
    surf_account.archive(archived)
    surf_account.merge(merged, into=edited)
    surf_account.delete(deleted)
    created = surf_account.create()
    before = copy_of(cast.surf)

    verdict = verify(cast.surf)

    assert verdict.missing == [created]
    assert verdict.different == sorted([edited, archived, merged, deleted])
    assert verdict.ours.digest != verdict.theirs.digest
    assert copy_of(cast.surf) == before
    sync()
    assert verify(cast.surf).in_step


def test_a_copy_that_was_tampered_with_is_named(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    sync()
    gone, changed = surf_account.ids(State.ACTIVE)[:2]
    ours = Patient.organization_id == cast.surf.id
    with transaction() as session:
        session.execute(delete(Patient).where(ours, Patient.cliniko_patient_id == gone))
        session.execute(
            update(Patient)
            .where(ours, Patient.cliniko_patient_id == changed)
            .values(state="merged")
        )
        session.execute(
            update(Patient)
            .where(ours, Patient.cliniko_patient_id == surf_account.ids(State.ACTIVE)[2])
            .values(cliniko_patient_id="77")
        )

    verdict = verify(cast.surf)

    assert verdict.missing == sorted([gone, surf_account.ids(State.ACTIVE)[2]], key=int)
    assert (verdict.extra, verdict.different) == (["77"], [changed])


def test_who_was_in_no_list_for_a_moment_is_no_false_alarm(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    sync()
    restless = surf_account.ids(State.ARCHIVED)[0]

    def between(path: str, params: dict[str, list[str]], _number: int) -> None:
        if params.get("per_page") == ["1"]:  # which counts them
            return
        if path == "/patients/archived":  # the active ones have been read
            surf_account.unarchive(restless)
        if path == "/patients/deleted":
            surf_account.archive(restless)

    cliniko.before_request = between

    assert verify(cast.surf).in_step


def test_who_is_changed_and_synced_while_both_are_compared_is_no_false_alarm(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync()
    surf_account.edit(surf_account.ids(State.ACTIVE)[7], first_name="Another")  # a suspect
    held = verify_module._held

    def held_and_then_changed(organization: Organization) -> object:
        found = held(organization)
        monkeypatch.setattr(verify_module, "_held", held)
        surf_account.edit(surf_account.ids(State.ACTIVE)[3], first_name="Meanwhile")
        surf_account.create()
        sync()
        return found

    monkeypatch.setattr(verify_module, "_held", held_and_then_changed)

    assert verify(cast.surf).in_step


def test_whom_cliniko_counts_and_no_list_shows_is_missed_by_number(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    """The copy lacks them just so."""
    twice = surf_account.patient(surf_account.ids(State.ACTIVE)[50]).record()
    on: dict[str, Any] = {"on": "/patients", "query": "per_page=100&page=1&", "times": None}
    cliniko.faults.add("replace_record", record=twice, at=51, **on)
    sync()

    verdict = verify(cast.surf)

    assert (verdict.missing, verdict.extra, verdict.different) == ([], [], [])
    assert (verdict.not_shown, verdict.in_step) == (1, False)


def test_a_record_that_cannot_be_read_is_different(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    sync()
    broken = surf_account.ids(State.ACTIVE)[0]
    surf_account.edit(broken, date_of_birth="someday")

    assert verify(cast.surf).different == [broken]


def test_a_key_of_another_account_is_compared_with_nothing(
    cast: Cast, sync: Sync, cliniko: Simulator
) -> None:
    sync()
    (mine, *_), (theirs, *_) = (account.users for account in cliniko.accounts)
    theirs.keys.update(mine.keys)
    mine.keys.clear()

    with pytest.raises(AccountMismatch):
        verify(cast.surf)


def test_a_field_that_somebody_changed_is_found_though_its_digest_was_not(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    sync()
    changed = surf_account.ids(State.ACTIVE)[3]
    with transaction() as session:
        theirs = Patient.cliniko_patient_id == changed
        session.execute(update(Patient).where(theirs).values(email="nobody@example.com"))

    assert verify(cast.surf).different == [changed]
