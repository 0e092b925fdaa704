"""A phone that knows somebody's second factor."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

import time_machine
from pyotp import TOTP

from webapp.clock import now
from webapp.models import User
from webapp.services import second_factor


@dataclass(frozen=True)
class Phone:
    """Shows codes; beside it lie the recovery codes."""

    secret: str
    recovery_codes: list[str]

    def code(self, *, steps: int = 0) -> str:
        """What it shows, so many half-minutes from now."""
        return code_of(self.secret, steps=steps)


def code_of(secret: str, *, steps: int = 0) -> str:
    """The code of a secret, so many half-minutes from now."""
    return TOTP(secret).generate_otp(int(time.time()) // 30 + steps)


def set_up(user: User) -> Phone:
    """Give somebody a second factor, a few minutes ago: every code of now is new."""
    with time_machine.travel(now() - timedelta(minutes=5), tick=False):
        second_factor.begin(user)
        pending = second_factor.pending(user)
        assert pending is not None
        codes = second_factor.confirm(user, code_of(pending.secret))
    return Phone(pending.secret, codes)
