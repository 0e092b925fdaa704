"""Everybody who may come: with a token for the API and a session for the pages."""

from __future__ import annotations

from contextvars import Context
from dataclasses import dataclass
from datetime import timedelta

from flask import Flask, session
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import generate_csrf
from sqlalchemy import delete, update

from tests.access.clinics import Clinic
from tests.access.table import Door
from tests.auth.tokens_made_wrong import Forge
from tests.cast import make_user
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import ApiToken, Organization, Role, User
from webapp.services import tokens


@dataclass(frozen=True)
class Actor:
    """Somebody, as whom the table knows them, and what they show at each door."""

    name: str
    role: Role | None  # None: nobody
    clinic: Clinic | None  # the one they belong to, if it exists
    token: str | None
    cookie: str
    csrf: str  # belongs to the cookie
    doors: frozenset[Door] = frozenset(Door)

    @property
    def belongs_somewhere(self) -> bool:
        return self.clinic is not None


def everybody(app: Flask, surf: Clinic) -> list[Actor]:
    """The admin first, then who belongs to a clinic, then who is nobody."""
    organization = db.session.get_one(Organization, surf.id)
    alice = make_user("alice@example.com", Role.ADMIN)
    bob = make_user("bob@example.com", Role.MANAGER, organization)
    vera = make_user("vera@example.com", Role.VIEWER, organization)
    astray = make_user("astray@example.com", Role.MANAGER, organization)
    deactivated = make_user("deactivated@example.com", Role.ADMIN)
    ended = make_user("ended@example.com", Role.ADMIN)
    gone = make_user("gone@example.com", Role.ADMIN)
    forge = Forge.of(app, alice)
    past = int(now().timestamp()) - 60
    actors = [
        Actor("admin", Role.ADMIN, None, *_credentials(app, alice)),
        Actor("manager", Role.MANAGER, surf, *_credentials(app, bob)),
        Actor("viewer", Role.VIEWER, surf, *_credentials(app, vera)),
        Actor("manager of a clinic that is gone", Role.MANAGER, None, *_credentials(app, astray)),
        Actor("anonymous", None, None, *_credentials(app, None)),
        Actor("deactivated", None, None, *_credentials(app, deactivated)),
        Actor("ended", None, None, *_credentials(app, ended)),
        Actor("gone", None, None, *_credentials(app, gone)),
    ]
    wrong = {"expired": forge.token(exp=past), "for others": forge.token(aud="another-service")}
    _, cookie, csrf = _credentials(app, None)
    for name, token in wrong.items():
        only_the_api = frozenset({Door.TOKEN})
        actors.append(Actor(f"token {name}", None, None, token, cookie, csrf, only_the_api))
    with transaction() as opened:
        # Its use is noted once a minute, which would look like a change.
        opened.execute(update(ApiToken).values(last_used_at=now() + timedelta(hours=1)))
        deactivated.active = False
        ended.session_epoch += 1
        opened.execute(delete(ApiToken).where(ApiToken.user_id == gone.id))
        opened.delete(gone)
    return actors


def _credentials(app: Flask, user: User | None) -> tuple[str | None, str, str]:
    """A token, a cookie, and the token of forms that belongs to the cookie."""
    interface = app.session_interface
    assert isinstance(interface, SecureCookieSessionInterface)
    serializer = interface.get_signing_serializer(app)
    assert serializer is not None
    session_id = None if user is None else f"{user.id}.{user.session_epoch}"

    def kept() -> tuple[str, str]:
        with app.test_request_context():
            if session_id is not None:
                session["_user_id"] = session_id
            return generate_csrf(), str(serializer.dumps(dict(session)))

    # In a context of its own: the token of the last person is kept in the one at hand.
    csrf, cookie = Context().run(kept)
    name = app.config["SESSION_COOKIE_NAME"]
    token = None if user is None else tokens.issue(user)[0]
    return token, f"{name}={cookie}", csrf
