"""What commands have in common: errors as sentences, people by their address, secrets unseen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import click
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from webapp.cliniko.errors import ClinikoError
from webapp.errors import AppError
from webapp.extensions import NOT_MIGRATED, says_damaged
from webapp.models import User
from webapp.services import callers, people

P = ParamSpec("P")
R = TypeVar("R")

# The id of a clinic, as far as the API takes one too.
ID = click.IntRange(1, 10**16 - 1)

_NOT_MIGRATED_STATES = ("42P01", "42703")  # PostgreSQL's undefined_table and undefined_column


class CannotBeDone(click.ClickException):
    """Ends a command with a sentence. Exit code 1 is for those that looked and found something."""

    exit_code = 2


def in_sentences(command: Callable[P, R]) -> Callable[P, R]:
    """An expected error ends a command with its sentence, not with a trace."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for given in (*args, *kwargs.values()):
            _check_text(given)
        try:
            with callers.called_by(callers.Caller(callers.Way.COMMAND)), database_in_words():
                return command(*args, **kwargs)
        except (AppError, ClinikoError) as error:
            raise CannotBeDone(error.message) from error

    return run


@contextmanager
def database_in_words() -> Iterator[None]:
    """A database that is away, locked, damaged or not migrated is told in a sentence."""
    try:
        yield
    except DatabaseError as error:
        said = str(error.orig).strip().partition("\n")[0]
        if _is_not_migrated(error):
            raise CannotBeDone(
                f"The database is not up to date ({said}). Bring it up to date with: db upgrade"
            ) from error
        if says_damaged(error.orig):
            raise CannotBeDone(
                f"The database is damaged or has a fault within ({said}). In place of a damaged "
                "one restore a backup, as docs/operations.md says."
            ) from error
        if not isinstance(error, OperationalError):
            raise
        raise CannotBeDone(f"The database cannot be used: {said}") from error
    except NoConnectionFree as error:
        raise CannotBeDone("The database cannot be used: no connection became free.") from error


def person(email: str) -> User:
    """The active person with this address; without one the command ends with a sentence."""
    user = people.by_email(email)
    if user is None:
        raise CannotBeDone(f"Nobody with the address {email} can sign in.")
    return user


def secret(prompt: str, *, confirm: bool = False) -> str:
    """A secret from the terminal without echo, or the first line of standard input."""
    try:
        if sys.stdin.isatty():
            said = str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm))
        else:
            said = sys.stdin.readline().rstrip("\n")
    except UnicodeDecodeError:
        raise CannotBeDone("Standard input is no text in UTF-8.") from None
    _check_text(said)
    return said


def _check_text(given: object) -> None:
    """Bytes that are no UTF-8 reach us as halves of characters, which no database stores."""
    try:
        str(given).encode()
    except UnicodeEncodeError:
        raise CannotBeDone("Something that was given is no text in UTF-8.") from None


def _is_not_migrated(error: DatabaseError) -> bool:
    by_state = getattr(error.orig, "sqlstate", None) in _NOT_MIGRATED_STATES
    return by_state or any(words in str(error.orig) for words in NOT_MIGRATED)
