"""Passwords: what is accepted, how it is hashed, how it is checked."""

from __future__ import annotations

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webapp.errors import ValidationError

MIN_LENGTH = 15
MAX_BYTES = 1024

_hasher = PasswordHasher()  # argon2id


def hashed(password: str) -> str:
    """The hash to store. Raises ValidationError for a password that is too short or too long."""
    password = unicodedata.normalize("NFKC", password)
    if len(password) < MIN_LENGTH or len(password.encode()) > MAX_BYTES:
        raise ValidationError(
            f"Choose a password of at least {MIN_LENGTH} characters and at most {MAX_BYTES} bytes.",
            parameter="password",
        )
    return _hasher.hash(password)


def matches(password: str, password_hash: str | None) -> bool:
    """Whether the password is right. Takes as long when there is no hash to compare with,
    so that nobody can tell by time whether an account exists."""
    password = unicodedata.normalize("NFKC", password)
    if len(password.encode()) > MAX_BYTES:
        return False
    try:
        _hasher.verify(password_hash or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("the hash of an account that does not exist")
