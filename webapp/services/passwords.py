"""Passwords: what is accepted, how it is hashed, how it is checked."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterable
from functools import cache
from threading import BoundedSemaphore

import structlog
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from webapp.errors import ValidationError
from webapp.services.breached import is_breached
from webapp.services.guessable import is_guessable

log = structlog.get_logger()

MIN_LENGTH = 15  # where a password is all that one needs to sign in
MIN_LENGTH_WITH_CODE = 12  # where a second factor stands beside it
MAX_BYTES = 1024  # as it was typed

# The second of the two recommendations of RFC 9106; OWASP asks for 19 MiB and two passes at least.
_hasher = PasswordHasher(
    time_cost=3, memory_cost=64 * 1024, parallelism=4, hash_len=32, salt_len=16, type=Type.ID
)
# Each hash takes 64 MiB: however many sign in at once, a process takes no more than for these.
AT_ONCE = 2
_room = BoundedSemaphore(AT_ONCE)


def hashed(password: str, *, about: Iterable[str] = (), least: int = MIN_LENGTH) -> str:
    """The hash to store. `about` is what can be known of the person, `least` how many characters
    theirs must have.

    Raises ValidationError for a password that is too short, too long, guessed first, known from a
    breach, or if the list of those cannot be read.
    """
    _check_size(password)
    typed, password = password, _normalized(password)
    if len(password) < least:
        raise ValidationError(
            f"Choose a password of at least {least} characters.", parameter="password"
        )
    if is_guessable(password, about):
        raise ValidationError(
            "This password is one of the first that are guessed: common words, names of the clinic "
            "or of the person, or the same again and again. Put a few words together that have "
            "nothing to do with each other.",
            parameter="password",
        )
    try:
        stolen = is_breached(password) or is_breached(typed)
    except OSError as error:
        log.exception("breached_passwords_unreadable")
        raise ValidationError(
            "Passwords cannot be checked just now, so none is taken. Tell whoever runs Patient "
            "Sync.",
            parameter="password",
        ) from error
    if stolen:
        raise ValidationError(
            "This password is known to have been stolen elsewhere, so it is tried by whoever "
            "guesses. Choose another one, also wherever else you use it.",
            parameter="password",
        )
    return _hash(password)


def hashed_anew(password: str) -> str:
    """The hash of a password that was accepted before, with the parameters of today."""
    return _hash(_normalized(password))


def nobodys() -> str:
    """A hash that no password matches, as far as anybody can know."""
    return _hash(secrets.token_urlsafe(32))


def matches(password: str, password_hash: str | None) -> bool:
    """Whether the password is right. Takes as long when there is no hash to compare with,
    so that nobody can tell by time whether an account exists.

    Raises ValidationError for one that is too long to be anybody's, without a look at the hash.
    """
    _check_size(password)
    nobodys_hash = _nobodys_hash()  # made by the first try of a process, whoever it is about
    stored = password_hash or nobodys_hash
    try:
        with _room:
            _hasher.verify(stored, _normalized(password))
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether a hash was made with other parameters than those of today."""
    return _hasher.check_needs_rehash(password_hash)


def is_too_short_alone(password: str) -> bool:
    """Whether a password is good enough only for somebody who has a second factor."""
    return len(_normalized(password)) < MIN_LENGTH


def _check_size(password: str) -> None:
    # By its characters first: a megabyte is not even encoded.
    if len(password) > MAX_BYTES or len(password.encode()) > MAX_BYTES:
        raise ValidationError(
            f"A password has at most {MAX_BYTES:,} bytes.",
            parameter="password",
        )


def _normalized(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _hash(password: str) -> str:
    with _room:
        return _hasher.hash(password)


@cache
def _nobodys_hash() -> str:
    return nobodys()
