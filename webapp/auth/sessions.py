"""Who is signed in to the pages: Flask-Login keeps it in the session cookie, for them alone."""

from __future__ import annotations

from flask import Flask, session
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    UserMixin,
    current_user,
    login_user,
    logout_user,
)
from sqlalchemy import bindparam, select

from webapp.errors import AuthenticationRequired
from webapp.extensions import db
from webapp.models import User

login_manager = LoginManager()

SESSION_KEY = "_user_id"  # where Flask-Login keeps what `get_id` says, as `<id>.<epoch>`

# Built once: it is asked with every request for a page, of open dashboards alone hundreds a second.
_PERSON = select(User).where(User.id == bindparam("id"))


class _SignedIn(UserMixin):  # type: ignore[misc]
    """A person as Flask-Login wants them. The id it keeps holds the epoch too, so that raising
    the epoch ends every session of theirs."""

    def __init__(self, user: User) -> None:
        self.user = user

    def get_id(self) -> str:
        return f"{self.user.id}.{self.user.session_epoch}"


def init_app(app: Flask) -> None:
    """Let Flask-Login find the person in the session. Templates ask for them by themselves: an
    error page must not need the database."""
    login_manager.init_app(app, add_context_processor=False)


def sign_in(user: User) -> None:
    """Begin a session for this person, with nothing in it of whatever was there before."""
    session.clear()
    login_user(_SignedIn(user))


def sign_out() -> None:
    """End the session at hand."""
    logout_user()
    session.clear()


def signed_in_user() -> User | None:
    """Who is signed in; None if nobody is."""
    user: User | None = getattr(current_user, "user", None)
    return user


def require_sign_in() -> None:
    """Raise AuthenticationRequired unless somebody is signed in."""
    if signed_in_user() is None:
        raise AuthenticationRequired()


def current_actor() -> User:
    """The person who asks for this page; only where signing in is required."""
    user = signed_in_user()
    assert user is not None
    return user


@login_manager.user_loader  # type: ignore[untyped-decorator]
def _load(session_id: str) -> _SignedIn | None:
    user_id, _, epoch = session_id.partition(".")
    user: User | None = db.session.scalar(_PERSON, {"id": int(user_id)})
    if user is None or not user.active or str(user.session_epoch) != epoch:
        return None
    return _SignedIn(user)
