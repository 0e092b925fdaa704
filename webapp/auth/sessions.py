"""Who is signed in to the pages. Flask-Login keeps the secret of their session in the cookie, for
them alone; `services/sessions.py` knows what it is worth."""

from __future__ import annotations

from flask import Flask, request, session
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    UserMixin,
    current_user,
    login_user,
    logout_user,
)

from webapp.auth.access import refuse_if_disabled
from webapp.errors import AuthenticationRequired
from webapp.models import User, UserSession
from webapp.services import callers, sessions

login_manager = LoginManager()

SESSION_KEY = "_user_id"  # where Flask-Login keeps what `get_id` says


class _SignedIn(UserMixin):  # type: ignore[misc]
    """A session as Flask-Login wants it, which takes it for a person."""

    def __init__(self, row: UserSession, secret: str) -> None:
        self.session = row
        self.secret = secret

    def get_id(self) -> str:
        return self.secret


def init_app(app: Flask) -> None:
    """Let Flask-Login find the person in the session. Templates ask for them by themselves: an
    error page must not need the database."""
    login_manager.init_app(app, add_context_processor=False)


def sign_in(user: User) -> None:
    """Begin a session for this person, with nothing in it of whatever was there before."""
    agent = request.headers.get("User-Agent", "")
    row, secret = sessions.begin(user, address=request.remote_addr or "", agent=agent)
    sign_out()
    login_user(_SignedIn(row, secret))


def sign_out() -> None:
    """End the session at hand, so that nobody can use a copy of its cookie. This browser forgets it
    even if the database cannot be asked or written to, which raises OperationalError."""
    try:
        if (row := current_session()) is not None:
            sessions.end(row.id, owner=row.user)
        logout_user()
    finally:
        session.clear()


def sign_out_elsewhere() -> None:
    """End everything that whoever is signed in has opened but this session."""
    row = current_session()
    assert row is not None
    secret = sessions.end_others(row)
    session.clear()
    login_user(_SignedIn(row, secret))


def current_session() -> UserSession | None:
    """The session of this browser; None if nobody is signed in."""
    row: UserSession | None = getattr(current_user, "session", None)
    return row


def signed_in_user() -> User | None:
    """Who is signed in; None if nobody is."""
    row = current_session()
    return row.user if row else None


def is_fresh() -> bool:
    """Whether whoever is signed in has entered their password lately enough for a dangerous act."""
    row = current_session()
    return row is not None and sessions.is_proved(row)


def prove() -> None:
    """Note that whoever is signed in has just shown again that it is them."""
    row = current_session()
    assert row is not None
    sessions.note_proof(row)


def was_ended() -> bool:
    """Whether somebody was signed in at this browser, and did not sign out themselves."""
    return SESSION_KEY in session and current_session() is None


def require_sign_in() -> None:
    """Raise AuthenticationRequired unless somebody is signed in, and OrganizationDisabled if their
    clinic is disabled."""
    row = current_session()
    if row is None:
        raise AuthenticationRequired()
    refuse_if_disabled(row.user)
    callers.let_in(row.user, row)


def current_actor() -> User:
    """The person who asks for this page; only where signing in is required."""
    user = signed_in_user()
    assert user is not None
    return user


@login_manager.user_loader  # type: ignore[untyped-decorator]
def _load(secret: str) -> _SignedIn | None:
    row = sessions.of_secret(secret)
    return _SignedIn(row, secret) if row else None
