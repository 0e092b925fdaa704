"""Whoever must have a second factor sets it up before they reach anything else, at one browser:
another that is signed in as them is not shown the secret."""

from __future__ import annotations

from flask import request, session

from webapp.auth.sessions import current_actor
from webapp.errors import SecondFactorRequired
from webapp.services import second_factor
from webapp.services.second_factor import Pending

_KEY = "setting_up"  # since when
_SETTING_UP = frozenset(
    f"pages.{page}"
    for page in (
        "second_factor",
        "second_factor_qr",
        "begin_second_factor",
        "confirm_second_factor",
        "session",  # asks whether anybody is still there
    )
)


def require_second_factor() -> None:
    """Raise SecondFactorRequired if the person who is signed in must set one up first, and asks for
    anything else."""
    user = current_actor()
    missing = second_factor.is_missing(user.role, user.second_factor_since)
    if missing and request.endpoint not in _SETTING_UP:
        raise SecondFactorRequired()


def begin() -> None:
    """Begin at this browser to set up a second factor for whoever is signed in. Raises as
    `second_factor.begin` does."""
    session[_KEY] = second_factor.begin(current_actor()).isoformat()


def pending() -> Pending | None:
    """What the phone of whoever is signed in is to learn, if that was begun at this browser."""
    found = second_factor.pending(current_actor())
    return found if found and found.since.isoformat() == session.get(_KEY) else None
