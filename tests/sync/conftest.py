"""Everything about syncs is tested on both databases, but for how Cliniko answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from config import Settings
from simulator.account import ClinikoAccount
from tests.cast import Cast
from tests.sync.copies import Copy, copy_of, truth_of
from webapp import create_core
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.sync import engine
from webapp.sync.start import start_sync

# Where what differs from one case to the next is Cliniko's answer, it is on one database.
ABOUT_ANSWERS = pytest.mark.parametrize("database", ["sqlite"])


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    return create_core


@pytest.fixture
def begin(app: Flask, cast: Cast) -> Callable[..., SyncLog]:
    """Starts a sync of Surf Rehab that no worker has picked up yet."""

    def begin(operation_type: OperationType = OperationType.FULL_PATIENTS) -> SyncLog:
        return start_sync(cast.surf, operation_type, actor=cast.bob, origin=SyncOrigin.COMMAND)

    return begin


@pytest.fixture
def sync(begin: Callable[..., SyncLog]) -> Callable[..., SyncLog]:
    """Runs a whole sync of Surf Rehab in this process and returns its row as it ended."""

    def sync(operation_type: OperationType = OperationType.FULL_PATIENTS) -> SyncLog:
        return _run(begin(operation_type))

    return sync


@pytest.fixture
def sync_of(app: Flask) -> Callable[[Organization], SyncLog]:
    """Runs a whole sync of any clinic."""

    def sync_of(organization: Organization) -> SyncLog:
        return _run(
            start_sync(
                organization, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND
            )
        )

    return sync_of


@pytest.fixture
def in_step(cast: Cast, surf_account: ClinikoAccount) -> Callable[[], bool]:
    """Whether our copy of Surf Rehab equals Cliniko's patients by id, state and content."""

    def in_step() -> bool:
        ours, theirs = copy_of(cast.surf), truth_of(surf_account)
        assert ours == theirs, _difference(ours, theirs)
        return True

    return in_step


def _run(log: SyncLog) -> SyncLog:
    engine.run(log.id, log.attempt, worker="test")
    db.session.expire_all()
    return db.session.get_one(SyncLog, log.id)


def _difference(ours: dict[str, Copy], theirs: dict[str, Copy]) -> str:
    missing, extra = theirs.keys() - ours.keys(), ours.keys() - theirs.keys()
    different = [key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
    shown = [(ours[key], theirs[key]) for key in different[:2]]
    return f"missing {sorted(missing)[:5]}, extra {sorted(extra)[:5]}, different {shown}"
