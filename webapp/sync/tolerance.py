"""Doing something for many clinics, one after the other, though there is trouble with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from webapp.errors import AppError

log = structlog.get_logger()

_MOST_TROUBLES_IN_A_ROW = 3


class Tolerance:
    """Trouble with one clinic passes: the others must not wait for it, and the next look is a few
    seconds away. Three in a row is trouble of the whole system."""

    def __init__(self) -> None:
        self._in_a_row = 0

    @contextmanager
    def of(self, **one: int) -> Iterator[None]:
        """Raises what the third in a row raises."""
        try:
            yield
        except (SQLAlchemyError, AppError) as error:
            log.warning("left_for_the_next_look", error=type(error).__name__, **one)
            self._in_a_row += 1
            if self._in_a_row == _MOST_TROUBLES_IN_A_ROW:
                raise
        else:
            self._in_a_row = 0
