"""The two doors of the dashboard: one for people who are signed in, and one for everybody."""

from __future__ import annotations

from flask import Blueprint, request

from webapp.auth import sessions
from webapp.auth.second_factor import require_second_factor
from webapp.htmx import asked_by_htmx
from webapp.services import sessions as sessions_service

signed_in = Blueprint("pages", __name__)
signed_in.before_request(sessions.require_sign_in)
signed_in.before_request(require_second_factor)

open_to_all = Blueprint("open", __name__)


@signed_in.before_request
def _note_activity() -> None:
    """A page that keeps itself up to date is no sign that anybody sits before it: what htmx gets it
    gets by itself, and a page that loads itself again says `watching`."""
    reading = request.method in ("GET", "HEAD")
    row = sessions.current_session()
    if row is not None and not (reading and (asked_by_htmx() or "watching" in request.args)):
        sessions_service.note_activity(row)
