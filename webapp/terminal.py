"""What commands have in common: errors as sentences, people by their address, secrets unseen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from webapp.cliniko.errors import ClinikoError
from webapp.errors import AppError
from webapp.models import User
from webapp.services import audit, people

P = ParamSpec("P")
R = TypeVar("R")


def in_sentences(command: Callable[P, R]) -> Callable[P, R]:
    """An expected error ends a command with its sentence, not with a trace."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        way = audit.origin.set(audit.Origin("command"))
        try:
            return command(*args, **kwargs)
        except (AppError, ClinikoError) as error:
            raise click.ClickException(error.message) from error
        finally:
            audit.origin.reset(way)

    return run


def person(email: str) -> User:
    """The active person with this address; without one the command ends with a sentence."""
    user = people.by_email(email)
    if user is None:
        raise click.ClickException(f"Nobody with the address {email} can sign in.")
    return user


def secret(prompt: str, *, confirm: bool = False) -> str:
    """A secret from the terminal without echo, or the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm))
    return sys.stdin.readline().rstrip("\n")
