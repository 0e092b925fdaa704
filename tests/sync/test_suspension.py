"""Clinics that are disabled, enabled or deleted; X7: a sync that runs meanwhile stores nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from simulator.server import Simulator
from tests.cast import NORTHSIDE_KEY, SURF_KEY, Cast
from tests.support.databases import on_both
from tests.support.locks import until_somebody_waits
from tests.support.processes import wait_until
from webapp.errors import (
    AuthenticationRequired,
    OrganizationDisabled,
    OrganizationNotFound,
    ValidationError,
)
from webapp.extensions import db
from webapp.models import AuditEvent, Organization, Patient, Role, SyncLog, SyncStatus, User
from webapp.services import organizations, people, tokens
from webapp.services.audit_events import Event
from webapp.sync import engine, recorder, recovery, suspension
from webapp.sync.upsert import Stored, store_pages

Sync = Callable[..., SyncLog]


def patients_of(organization: Organization) -> int:
    db.session.rollback()
    theirs = Patient.organization_id == organization.id
    return db.session.scalar(select(func.count()).where(theirs)) or 0


def while_it_runs(cliniko: Simulator, do: Callable[[], None]) -> None:
    """Do something, once, when the archived patients are asked for and some others are stored."""
    from flask import current_app

    app = current_app._get_current_object()  # type: ignore[attr-defined]
    done: list[str] = []

    def between(path: str, _params: object, _number: int) -> None:
        if path != "/patients/archived" or done:
            return
        with app.app_context():
            if db.session.scalar(select(func.count()).select_from(Patient)):
                done.append(path)
                db.session.rollback()
                do()

    cliniko.before_request = between


def test_no_sync_of_a_disabled_clinic_starts_until_it_is_enabled(cast: Cast, sync: Sync) -> None:
    suspension.disable(cast.surf, actor=cast.alice)
    with pytest.raises(OrganizationDisabled):
        sync()

    suspension.enable(cast.surf, actor=cast.alice)
    assert sync().status == SyncStatus.COMPLETED


@on_both
def test_a_clinic_that_is_disabled_or_enabled_already_is_not_once_more(cast: Cast) -> None:
    suspension.disable(cast.surf, actor=cast.alice)
    since = cast.surf.disabled_at
    suspension.disable(cast.surf, actor=cast.alice)
    assert cast.surf.disabled_at == since
    for _ in range(2):
        suspension.enable(cast.surf, actor=cast.alice)
    assert cast.surf.disabled_at is None

    db.session.rollback()
    either = AuditEvent.event.in_((Event.CLINIC_DISABLED, Event.CLINIC_ENABLED))
    recorded = select(AuditEvent.event).where(either).order_by(AuditEvent.id)
    assert list(db.session.scalars(recorded)) == ["clinic:disabled", "clinic:enabled"]


@pytest.mark.parametrize(
    ("end", "error_code"),
    [("disable", "SYNC_CANCELLED"), ("delete", "ORGANIZATION_NOT_FOUND")],
)
def test_a_sync_that_runs_ends_and_stores_nobody_any_more(
    cast: Cast, sync: Sync, cliniko: Simulator, end: str, error_code: str
) -> None:
    surf_id, alice_id, stored = cast.surf.id, cast.alice.id, []

    def close() -> None:
        surf, alice = db.session.get_one(Organization, surf_id), db.session.get_one(User, alice_id)
        if end == "disable":
            suspension.disable(surf, actor=alice)
        else:
            suspension.delete(surf, "Surf Rehab", actor=alice)
        stored.append(patients_of(surf))

    while_it_runs(cliniko, close)
    log = sync()
    wait_until(lambda: bool(stored))  # the sync may have ended before who ended it has looked

    assert (log.status, log.error_code) == (SyncStatus.FAILED, error_code)
    assert 0 < patients_of(cast.surf) == stored[0] < 648


@pytest.mark.parametrize("database", ["postgresql"])  # SQLite has one lock for all
def test_who_disables_a_clinic_waits_for_the_page_that_is_being_stored(
    app: Flask, cast: Cast, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lock the clinic's row and the sync's: in another order each would wait for the other."""
    surf_id, alice_id = cast.surf.id, cast.alice.id
    told: list[Future[None]] = []
    first = chain([True], iter(lambda: False, None))

    def press() -> None:
        with app.app_context():
            surf = db.session.get_one(Organization, surf_id)
            suspension.disable(surf, actor=db.session.get_one(User, alice_id))
            db.session.remove()

    def store_slowly(*args: Any, **kwargs: Any) -> Stored:
        if next(first):
            told.append(pool.submit(press))
            with app.app_context():
                until_somebody_waits()
        return store_pages(*args, **kwargs)

    monkeypatch.setattr(recorder, "store_pages", store_slowly)
    with ThreadPoolExecutor(1) as pool:
        log = sync()
        told[0].result(30)

    assert (log.status, log.error_code) == (SyncStatus.FAILED, "SYNC_CANCELLED")
    assert patients_of(cast.surf) > 0  # the page at hand was stored


def test_one_that_waits_in_the_queue_is_not_begun(cast: Cast, begin: Sync) -> None:
    log = begin()
    suspension.disable(cast.surf, actor=cast.alice)

    engine.run(log.id, log.attempt, worker="test")
    assert recovery.recover_stale_syncs() == []

    db.session.expire_all()
    assert (log.status, log.error_code) == (SyncStatus.FAILED, "SYNC_CANCELLED")
    assert patients_of(cast.surf) == 0


@pytest.mark.parametrize("typed", ["", "surf rehab", "Surf Rehab!", "Northside Physio"])
def test_a_clinic_is_deleted_only_if_its_name_was_typed(typed: str, cast: Cast) -> None:
    with pytest.raises(ValidationError):
        suspension.delete(cast.surf, typed, actor=cast.alice)
    assert organizations.get(cast.surf.id) is not None


def test_a_deleted_clinic_is_there_for_nobody(cast: Cast, sync: Sync) -> None:
    sync()
    token, _ = tokens.issue(cast.bob)
    assert tokens.row_of(token).user.id == cast.bob.id

    suspension.delete(cast.surf, " Surf Rehab ", actor=cast.alice)

    db.session.expire_all()
    assert organizations.get(cast.surf.id) is None
    assert organizations.visible_to(cast.alice) == [cast.northside]
    assert organizations.visible_to(cast.vera) == []
    assert (cast.surf.encrypted_api_key, cast.surf.api_key_hint) == (None, None)
    assert [each.active for each in (cast.alice, cast.bob, cast.vera, cast.charlie)] == [
        *(True, False, False, True)
    ]
    for refused in (
        lambda: sync(),
        lambda: suspension.enable(cast.surf, actor=cast.alice),
        lambda: suspension.delete(cast.surf, "Surf Rehab", actor=cast.alice),
        lambda: organizations.replace_key(cast.surf, SURF_KEY),
        lambda: people.activate(cast.bob, actor=cast.alice),
        lambda: people.create(
            "mia@example.com",
            "a long enough password",
            role=Role.VIEWER,
            organization_id=cast.surf.id,
        ),
    ):
        with pytest.raises(OrganizationNotFound):
            refused()
    with pytest.raises(AuthenticationRequired):
        tokens.row_of(token)
    assert db.session.get(SyncLog, 1) is not None  # what its syncs were is kept
    ended = select(AuditEvent.subject).where(AuditEvent.event == Event.PERSON_DEACTIVATED)
    assert list(db.session.scalars(ended.order_by(AuditEvent.id))) == [
        f"person {each.id}" for each in (cast.bob, cast.vera)
    ]


def test_its_account_can_be_added_again_as_another_clinic(
    cast: Cast, sync: Sync, sync_of: Callable[[Organization], SyncLog]
) -> None:
    sync()
    gone_id = cast.surf.id
    suspension.delete(cast.surf, "Surf Rehab", actor=cast.alice)

    again = organizations.add("Surf Rehab", SURF_KEY)

    assert again.id > gone_id
    assert sync_of(again).records_success == 648


def test_other_clinics_do_not_notice(
    cast: Cast, sync_of: Callable[[Organization], SyncLog]
) -> None:
    suspension.disable(cast.surf, actor=cast.alice)
    suspension.delete(cast.surf, "Surf Rehab", actor=cast.alice)
    assert sync_of(cast.northside).status == SyncStatus.COMPLETED
    organizations.replace_key(cast.northside, NORTHSIDE_KEY)
