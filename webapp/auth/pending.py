"""Between the two steps of signing in: who has shown their password and not yet their code.

Nobody is signed in meanwhile. The cookie, which we sign, says whose code is awaited and since when.
"""

from __future__ import annotations

from datetime import timedelta

from flask import session

from webapp.auth import sessions
from webapp.clock import now
from webapp.models import User
from webapp.services import people

LIFETIME = timedelta(minutes=5)

_KEY = "awaited"


def await_code(user: User) -> None:
    """Remember in the cookie whose code is awaited. Whoever was signed in at this browser is signed
    out."""
    # Read before: signing out ends a transaction, and what was ended since the password was looked
    # at must count.
    whose = [user.id, user.session_epoch]
    sessions.sign_out()
    session[_KEY] = [*whose, int(now().timestamp())]


def awaited_user() -> User | None:
    """Whose code is awaited; None after five minutes, and if anything has ended what they had
    opened."""
    if _KEY not in session:
        return None
    user_id, epoch, since = session[_KEY]
    if now().timestamp() > since + LIFETIME.total_seconds():
        return None
    user = people.by_id(user_id)
    return user if user is not None and user.session_epoch == epoch else None
