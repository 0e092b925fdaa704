"""The encryption keys are rotated in the middle of a sync: it goes on, and so does the next."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import pytest
from flask import Flask

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.cast import Cast
from tests.conftest import CREDENTIALS_KEY
from tests.services.test_sealing import NEWER
from tests.sync.copies import copy_of, truth_of
from webapp.extensions import db
from webapp.models import SUBSCRIBABLE, OperationType, Patient, SyncLog, SyncStatus
from webapp.services import rotation
from webapp.services.rotation import Rotated
from webapp.services.webhooks import endpoints
from webapp.sync import forgotten

Sync = Callable[..., SyncLog]
Prepare = Callable[[], list[Rotated]]


@pytest.fixture
def rotate_between_two_requests(app: Flask, cliniko: Simulator) -> Prepare:
    """Has the keys rotated, beside the sync, before its third request from now on; what became of
    that stands in the list."""

    def prepare() -> list[Rotated]:
        at, once, done = len(cliniko.requests) + 3, Lock(), list[Rotated]()

        def rotate(*_: object) -> None:
            if len(cliniko.requests) >= at and once.acquire(blocking=False):
                with app.app_context():
                    app.config["CREDENTIALS_KEYS"] = [NEWER, CREDENTIALS_KEY]
                    done.append(rotation.rotate())

        cliniko.before_request = rotate
        return done

    return prepare


def test_the_copy_is_exact_and_the_next_ones_need_the_new_key_alone(
    app: Flask,
    sync: Sync,
    in_step: Callable[[], bool],
    surf_account: ClinikoAccount,
    rotate_between_two_requests: Prepare,
) -> None:
    rotated = rotate_between_two_requests()
    assert sync().status == SyncStatus.COMPLETED
    assert rotated == [Rotated(sealed=2)]
    assert in_step()

    app.config["CREDENTIALS_KEYS"] = [NEWER]
    for kind in (OperationType.CHANGED_PATIENTS, OperationType.FULL_PATIENTS):
        surf_account.edit(surf_account.ids(State.ACTIVE)[0], first_name=f"Before {kind}")
        assert sync(kind).status == SyncStatus.COMPLETED
        assert in_step()


def test_whoever_was_forgotten_is_brought_back_neither_by_it_nor_by_the_next(
    app: Flask,
    cast: Cast,
    sync: Sync,
    surf_account: ClinikoAccount,
    rotate_between_two_requests: Prepare,
) -> None:
    sync()
    key = surf_account.ids(State.ACTIVE)[5]
    row = db.session.query(Patient).filter_by(cliniko_patient_id=key).one()
    forgotten.forget(cast.surf, row, actor=cast.bob)
    others = {each: copy for each, copy in truth_of(surf_account).items() if each != key}

    rotated = rotate_between_two_requests()
    assert sync().status == SyncStatus.COMPLETED
    assert rotated == [Rotated(sealed=3)]
    assert copy_of(cast.surf) == others

    app.config["CREDENTIALS_KEYS"] = [NEWER]
    assert sync().status == SyncStatus.COMPLETED
    assert copy_of(cast.surf) == others


def test_webhooks_are_signed_with_the_same_secrets(
    app: Flask, cast: Cast, sync: Sync, rotate_between_two_requests: Prepare
) -> None:
    address = "https://hooks.example.com/patients"
    endpoint, first = endpoints.add(cast.surf, address, SUBSCRIBABLE, actor=cast.bob)
    second = endpoints.rotate(endpoint, actor=cast.bob)

    rotated = rotate_between_two_requests()
    assert sync().status == SyncStatus.COMPLETED
    assert rotated == [Rotated(sealed=4)]

    app.config["CREDENTIALS_KEYS"] = [NEWER]
    db.session.rollback()
    assert endpoints.secrets_of(endpoint) == [second, first]
