"""Whoever must have a second factor sets it up before they reach anything else."""

from __future__ import annotations

from flask import request

from webapp.auth.sessions import current_actor
from webapp.errors import SecondFactorRequired
from webapp.services import second_factor

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
