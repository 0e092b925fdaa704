"""What an error of the database means: it will pass, the disk is full, or the tables are wrong."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, OperationalError

from webapp.errors import ErrorCode

_FULL_WORDS = ("disk is full", "no space left", "could not extend", "disk full")

# SQLite has one kind of error for a lock, which passes, and for a column that is not there.
_WRONG_TABLES = ("no such", "has no column", "on conflict clause", "malformed")

_KEPT = "What was stored until then is kept."
_FULL = f"The disk of the database is full. {_KEPT} Make room, then start the sync again."
_UNAVAILABLE = f"The database could not be reached or stayed locked. {_KEPT} Start the sync again."
_CONSTRAINT = f"The database refused every record of a page. {_KEPT} Run the database migration."


def is_passing(error: DBAPIError) -> bool:
    """Whether the same may succeed in a moment: a lock, a restart, a deadlock."""
    return meaning_of(error)[0] is ErrorCode.DATABASE_UNAVAILABLE


def meaning_of(error: DBAPIError) -> tuple[ErrorCode, str]:
    """The error code of a sync that ends with this error, and what people are told."""
    text = str(error.orig).lower()
    if any(words in text for words in _FULL_WORDS):
        return ErrorCode.STORAGE_FULL, _FULL
    if isinstance(error, OperationalError) and not any(words in text for words in _WRONG_TABLES):
        return ErrorCode.DATABASE_UNAVAILABLE, _UNAVAILABLE
    return ErrorCode.DATABASE_CONSTRAINT_ERROR, _CONSTRAINT
