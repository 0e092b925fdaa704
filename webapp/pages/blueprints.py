"""The two doors of the dashboard: one for people who are signed in, and one for everybody."""

from __future__ import annotations

from flask import Blueprint

from webapp.auth import sessions

signed_in = Blueprint("pages", __name__)
signed_in.before_request(sessions.require_sign_in)

open_to_all = Blueprint("open", __name__)
