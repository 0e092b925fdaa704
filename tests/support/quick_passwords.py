"""Password hashes are slow on purpose; not so where hundreds sign in within the tests' process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Literal

import pytest
from argon2 import PasswordHasher
from flask import Flask

from tests import cast
from webapp.services import passwords

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_PASSWORD_HASH = QUICK.hash(cast.PASSWORD)


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test of the folder whose conftest imports it."""
    hash_quickly(monkeypatch)


@pytest.fixture(scope="module")
def quick_passwords_for_all() -> Iterator[None]:
    """For what all tests of a module share."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        hash_quickly(monkeypatch)
        yield


@pytest.fixture
def hashes(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Each hash that is made or checked; they are quick ones."""
    asked: list[str] = []

    class Counting(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            asked.append("made")
            return super().hash(password, salt=salt)

        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            asked.append("checked")
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Counting(1, 8, 1))
    passwords._nobodys_hash.cache_clear()
    yield asked
    passwords._nobodys_hash.cache_clear()


def hash_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone."""
    monkeypatch.setattr(passwords, "_hasher", QUICK)
    monkeypatch.setattr(passwords, "_nobodys_hash", cache(passwords.nobodys))
    monkeypatch.setattr(cast, "PASSWORD_HASH", _PASSWORD_HASH)
