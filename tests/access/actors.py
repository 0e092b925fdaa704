"""Everybody who may come: with a token for the API and a session for the pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flask import Flask
from sqlalchemy import delete, update

from tests.access.clinics import Clinic
from tests.access.table import Door
from tests.auth.tokens_made_wrong import Forge
from tests.cast import PASSWORD, make_user
from tests.pages.visitor import Visitor
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import ApiToken, Organization, Role, User, UserSession
from webapp.services import people, tokens

ONLY_THE_PAGES = frozenset({Door.SESSION})
ONLY_THE_API = frozenset({Door.TOKEN})
ANYBODY = "anonymous"  # who has never signed in


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
    idle = make_user("idle@example.com", Role.ADMIN)
    forge = Forge.of(app, alice)
    past = int(now().timestamp()) - 60
    actors = [
        Actor("admin", Role.ADMIN, None, *_credentials(app, alice)),
        Actor("manager", Role.MANAGER, surf, *_credentials(app, bob)),
        Actor("viewer", Role.VIEWER, surf, *_credentials(app, vera)),
        Actor("manager of a clinic that is gone", Role.MANAGER, None, *_credentials(app, astray)),
        Actor(ANYBODY, None, None, *_credentials(app, None)),
        Actor("deactivated", None, None, *_credentials(app, deactivated)),
        Actor("ended", None, None, *_credentials(app, ended)),
        Actor("gone", None, None, *_credentials(app, gone)),
    ]
    wrong = {"expired": forge.token(exp=past), "for others": forge.token(aud="another-service")}
    actors += [
        Actor("away for too long", None, None, *_credentials(app, idle), ONLY_THE_PAGES),
        Actor("signed out", None, None, *_credentials(app, idle, signed_out=True), ONLY_THE_PAGES),
    ]
    _, cookie, csrf = _credentials(app, None)
    for name, token in wrong.items():
        actors.append(Actor(f"token {name}", None, None, token, cookie, csrf, ONLY_THE_API))
    people.deactivate(deactivated)
    people.end_sessions(ended)
    later, earlier = now() + timedelta(hours=1), now() - timedelta(hours=1)
    with transaction() as opened:
        # Their use is noted once a minute, which would look like a change.
        opened.execute(update(ApiToken).values(last_used_at=later))
        idles = UserSession.user_id == idle.id
        opened.execute(update(UserSession).where(~idles).values(last_seen_at=later))
        opened.execute(update(UserSession).where(idles).values(last_seen_at=earlier))
        for table in (ApiToken, UserSession):
            opened.execute(delete(table).where(table.user_id == gone.id))
        opened.delete(gone)
    return actors


def _credentials(
    app: Flask, user: User | None, *, signed_out: bool = False
) -> tuple[str | None, str, str]:
    """A token, a cookie, and the token of forms that belongs to the cookie, come by as people do.
    Where they have signed out, what they had before."""
    visitor = Visitor(app)
    if user is not None:
        answer = visitor.post("/sign-in", email=user.email, password=PASSWORD)
        assert answer.status_code == 303
    csrf = visitor.csrf_token()
    cookie = visitor.client.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert cookie is not None
    if signed_out:
        visitor.post("/sign-out")
    token = None if user is None else tokens.issue(user)[0]
    return token, f"{cookie.key}={cookie.value}", csrf
