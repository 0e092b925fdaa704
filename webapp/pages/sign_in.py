"""Signing in and out."""

from __future__ import annotations

import re

from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from webapp.auth import sessions
from webapp.errors import RateLimited
from webapp.limits import sign_in as attempts
from webapp.models import User
from webapp.pages.blueprints import open_to_all
from webapp.services import people

# Whole pages that can be asked for without a form; people come back to these and to no others.
RETURN_TO = frozenset(
    f"pages.{page}"
    for page in (
        "clinics",
        "new_clinic",
        "clinic",
        "clinic_settings",
        "syncs",
        "sync",
        "patients",
        "patient",
        "removals",
        "api_access",
        "people",
        "account",
    )
)


@open_to_all.get("/sign-in")
def sign_in_form() -> ResponseReturnValue:
    if sessions.signed_in_user() is not None:
        return redirect(url_for("pages.clinics"), 303)
    return _form(request.args.get("next", ""))


@open_to_all.post("/sign-in")
def sign_in() -> ResponseReturnValue:
    email, next_path = request.form.get("email", ""), request.form.get("next", "")
    try:
        user = _authenticated(email, request.form.get("password", ""))
    except RateLimited as error:
        refusal = _form(next_path, email=email, problem=error.message)
        return refusal, 429, {"Retry-After": str(error.retry_after)}
    if user is None:
        wrong = "The e-mail address or the password is wrong."
        return _form(next_path, email=email, problem=wrong), 401
    sessions.sign_in(user)
    return redirect(safe_next(next_path), 303)


@open_to_all.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    sessions.sign_out()
    left_behind = {"Clear-Site-Data": '"cache", "cookies", "storage"'}
    return redirect(url_for("open.sign_in"), 303), left_behind


def safe_next(path: str) -> str:
    """Where to go after signing in: the path itself if it is that of a page of ours, else the
    list of clinics. A query is never kept, for it could hold a name somebody searched for."""
    if re.fullmatch(r"(/[A-Za-z0-9_-]+)+", path, re.ASCII):
        try:
            endpoint, _ = current_app.url_map.bind("").match(path, method="GET")
        except (HTTPException, RequestRedirect):
            endpoint = None
        if endpoint in RETURN_TO:
            return path
    return url_for("pages.clinics")


def _authenticated(email: str, password: str) -> User | None:
    attempts.check(email)
    # What cannot be in an address cannot be asked of every database either.
    user = people.authenticate(email, password) if email.isprintable() else None
    if user is None:
        attempts.count_failure(email)
    return user


def _form(next_path: str, *, email: str = "", problem: str | None = None) -> str:
    ended = problem is None and sessions.was_ended()
    return render_template(
        "sign_in/form.html", next=next_path, email=email, problem=problem, ended=ended
    )
