"""Patients who are only seen again: none of their values is written anew, and no index hears."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from tests.support.processes import wait_until
from webapp.extensions import db
from webapp.models import SyncLog

Sync = Callable[[], SyncLog]

_VERSIONS = """
    SELECT n_tup_upd, n_tup_hot_upd, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'patients'
"""


@pytest.fixture
def database() -> str:
    return "postgresql"


def test_postgresql_keeps_the_new_version_beside_the_old_one(sync: Sync) -> None:
    sync()
    for times in (1, 2, 3):
        assert sync().status == "completed"
        # What a connection tells when it ends comes a moment later.
        wait_until(told(648 * times))
        changed, beside, new = versions()
        assert beside > 0.97 * changed  # a page may be full to the last byte
        assert new == 648


def told(changed: int) -> Callable[[], bool]:
    return lambda: versions()[0] >= changed


def versions() -> tuple[int, int, int]:
    """New versions of patients so far, those of them that no index knows of, and new patients."""
    db.session.rollback()
    db.engine.dispose()  # a connection tells its figures when it ends
    with db.engine.connect() as connection:
        changed, beside, new = connection.execute(text(_VERSIONS)).one()
    return changed, beside, new
