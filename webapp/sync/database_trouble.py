"""Trouble of the database: what an error means, and patience with those that pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

from webapp.errors import ErrorCode
from webapp.extensions import NOT_MIGRATED, says_damaged, transaction
from webapp.sync.ending import WHAT_IS_KEPT, Closing

T = TypeVar("T")

# A database that restarts is back by then, and a person does not wait for longer than a minute.
PATIENCE_SECONDS = 45.0
_SHORTEST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 2.0

_FULL_WORDS = ("disk is full", "no space left", "could not extend")
_FULL_STATE = "53100"  # PostgreSQL's disk_full
_IDLE_STATE = "25P03"  # idle_in_transaction_session_timeout: this process has stood still

# SQLite has one kind of error for a lock, which passes, and for a column that is not there.
_WRONG_TABLES = (*NOT_MIGRATED, "on conflict clause")

_FULL = Closing(
    ErrorCode.STORAGE_FULL,
    f"The disk of the database is full. {WHAT_IS_KEPT} Make room, then start the sync again.",
)
_UNAVAILABLE = Closing(
    ErrorCode.DATABASE_UNAVAILABLE,
    f"The database could not be reached or stayed locked. {WHAT_IS_KEPT} Start the sync again.",
)
_CONSTRAINT = Closing(
    ErrorCode.DATABASE_CONSTRAINT_ERROR,
    f"The database refused every record of a page. {WHAT_IS_KEPT} Run the database migration.",
)
_DAMAGED = Closing(
    ErrorCode.INTERNAL_ERROR,
    "The database says that it is damaged or has a fault within. Whoever runs Patient Sync finds "
    "more in the worker's log, and restores a backup in place of a damaged one.",
)


def patiently(work: Callable[[], T], *, meanwhile: Callable[[], None] = lambda: None) -> T:
    """Write or ask in one transaction; a database that is locked, away or in a deadlock is asked
    again for up to 45 seconds, and `meanwhile` is called before each pause.

    It may be done twice, because the answer to a commit can get lost. Raises DBAPIError. Called
    while an error of the database is handled it would take each for that one, see `_causes`.
    """

    def in_one() -> T:
        with transaction():
            return work()

    return until_it_passes(in_one, meanwhile=meanwhile)


def until_it_passes(
    verb: Callable[[], T],
    *,
    seconds: float = PATIENCE_SECONDS,
    meanwhile: Callable[[], None] = lambda: None,
) -> T:
    """The same for a verb that is a transaction of its own, begun again within so many seconds."""
    give_up_at = time.monotonic() + seconds
    pause = _SHORTEST_PAUSE_SECONDS
    while True:
        try:
            return verb()
        except DBAPIError as error:
            passes = closing_after(error) is _UNAVAILABLE
            if not passes or time.monotonic() + pause > give_up_at:
                raise
        meanwhile()
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def closing_after(error: DBAPIError) -> Closing:
    """How a sync that ends with this error is closed."""
    causes = list(_causes(error))
    if any(map(_says_full, causes)):
        return _FULL
    if any(map(says_damaged, causes)):
        return _DAMAGED
    text = str(error.orig).lower()
    away = isinstance(error, OperationalError) or _state_of(error.orig) == _IDLE_STATE
    if away and not any(words in text for words in _WRONG_TABLES):
        return _UNAVAILABLE
    return _CONSTRAINT


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those before it. A full disk makes SQLite roll back by itself; then the
    savepoint that is to be left is gone, and that is said last and tells nothing."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__context__


def _says_full(error: BaseException) -> bool:
    words_of_it = str(error).lower()
    return _state_of(error) == _FULL_STATE or any(words in words_of_it for words in _FULL_WORDS)


def _state_of(error: BaseException | None) -> str | None:
    state: str | None = getattr(error, "sqlstate", None)
    return state
