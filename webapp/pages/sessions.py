"""How long one stays signed in without doing anything, and where else one is signed in."""

from __future__ import annotations

from flask import request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import generate_csrf

from webapp.auth.guards import fresh, id_of
from webapp.auth.sessions import current_actor, current_session
from webapp.htmx import asked_by_htmx
from webapp.pages.blueprints import signed_in
from webapp.pages.redirects import lead_to
from webapp.services import sessions


@signed_in.route("/account/session", methods=["GET", "POST"])
def session() -> ResponseReturnValue:
    """Whose session it is, how many seconds are left, and what its forms are sent with, which is
    another token once all else was signed out. To send the form is a sign of life, as it is
    everywhere."""
    if request.method == "POST" and not asked_by_htmx():
        return lead_to("pages.clinics")
    row = current_session()
    assert row is not None
    seconds, most = sessions.seconds_left(row)
    whose = sessions.mark_of(row.user)
    return {"seconds": seconds, "most": most, "whose": whose, "csrf": generate_csrf()}


@signed_in.post("/account/sessions/<session_id>/end")
@fresh
def end_session(session_id: str) -> ResponseReturnValue:
    sessions.end(id_of(session_id), owner=current_actor())
    return lead_to("pages.account", "The session was ended: that browser has to sign in again.")
