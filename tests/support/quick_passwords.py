"""Password hashes are slow on purpose; not so where hundreds sign in within the tests' process."""

from __future__ import annotations

from functools import cache

import pytest
from argon2 import PasswordHasher

from tests import cast
from webapp.services import passwords

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_PASSWORD_HASH = QUICK.hash(cast.PASSWORD)


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test of the folder whose conftest imports it."""
    monkeypatch.setattr(passwords, "_hasher", QUICK)
    monkeypatch.setattr(passwords, "_nobodys_hash", cache(passwords.nobodys))
    monkeypatch.setattr(cast, "PASSWORD_HASH", _PASSWORD_HASH)
