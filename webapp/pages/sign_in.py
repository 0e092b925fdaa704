"""Signing in and out."""

from __future__ import annotations

import re

from flask import (
    Response,
    after_this_request,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from webapp.auth import sessions
from webapp.auth.pending import await_code, awaited_user
from webapp.errors import RateLimited, ValidationError
from webapp.limits import sign_in as attempts
from webapp.models import User
from webapp.pages.blueprints import open_to_all
from webapp.pages.redirects import lead_to
from webapp.pages.refused import refusal
from webapp.services import second_factor
from webapp.services.second_factor import CodeKind

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
        "changes",
        "schedule",
        "patients",
        "patient",
        "removals",
        "api_access",
        "webhooks",
        "webhook",
        "people",
        "role",
        "audit",
        "clinic_audit",
        "account",
        "second_factor",
    )
)
_NO_COOKIE = (
    "Your browser sent no cookie with this form. Send it again; if it stays, allow cookies for "
    "this site."
)
_LAPSED = "This form was open for too long. Send it again."


@open_to_all.get("/sign-in")
def sign_in_form() -> ResponseReturnValue:
    if sessions.signed_in_user() is not None:
        return redirect(safe_next(request.args.get("next", "")), 303)
    return _form(request.args.get("next", ""))


@open_to_all.post("/sign-in")
def sign_in() -> ResponseReturnValue:
    email, next_path = request.form.get("email", ""), request.form.get("next", "")
    try:
        user = attempts.by_password(email, request.form.get("password", ""))
    except (RateLimited, ValidationError) as error:
        return refusal(_form(next_path, email=email, problem=error.message), error)
    if user is None:
        wrong = "The e-mail address or the password is wrong."
        return _form(next_path, email=email, problem=wrong), 401
    if user.second_factor_since is not None:
        attempts.note_awaited(user)
    return let_in(user, next_path)


@open_to_all.get("/sign-in/code")
def sign_in_code_form() -> ResponseReturnValue:
    if awaited_user() is None:
        return lead_to("open.sign_in")
    return _code_form(request.args.get("next", ""))


@open_to_all.post("/sign-in/code")
def sign_in_code() -> ResponseReturnValue:
    user, next_path = awaited_user(), request.form.get("next", "")
    if user is None:
        lapsed = "More than five minutes have passed since your password. Begin again."
        return lead_to("open.sign_in", lapsed, "warn")
    try:
        kind = attempts.by_code(user, request.form.get("code", ""))
    except RateLimited as error:
        return refusal(_code_form(next_path, problem=error.message), error)
    if kind is None:
        return _code_form(next_path, problem="This code is wrong, or was used before."), 401
    sessions.sign_in(user)
    if kind is CodeKind.RECOVERY_CODE:
        left = second_factor.recovery_codes_left(user)
        are_left = "1 is" if left == 1 else f"{left} are"
        flash(f"You used a recovery code; {are_left} left. See “Your account”.", "warn")
    return redirect(safe_next(next_path), 303)


def let_in(user: User, next_path: str) -> ResponseReturnValue:
    """Sign somebody in who has shown their password, or ask for their code if they need one."""
    if user.second_factor_since is not None:
        await_code(user)
        return lead_to("open.sign_in_code", next=next_path or None)
    sessions.sign_in(user)
    return redirect(safe_next(next_path), 303)


def form_again() -> ResponseReturnValue:
    """The form anew for whoever sent it without its token, which stands in the cookie; nobody is
    signed in by it."""
    came = current_app.config["SESSION_COOKIE_NAME"] in request.cookies
    problem = _LAPSED if came else _NO_COOKIE
    next_path = request.form.get("next", "")
    if request.endpoint == "open.sign_in_code" and awaited_user() is not None:
        return _code_form(next_path, problem=problem), 400
    return _form(next_path, email=request.form.get("email", ""), problem=problem), 400


@open_to_all.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    @after_this_request  # also with an answer that tells of trouble
    def leave_nothing_behind(response: Response) -> Response:
        response.headers["Clear-Site-Data"] = '"cache", "cookies", "storage"'
        return response

    sessions.sign_out()
    return lead_to("open.sign_in")


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


def _form(next_path: str, *, email: str = "", problem: str | None = None) -> str:
    ended = problem is None and sessions.was_ended()
    refused = "refused" in request.args
    return render_template(
        "sign_in/form.html",
        next=next_path,
        email=email,
        problem=problem,
        ended=ended,
        refused=refused,
    )


def _code_form(next_path: str, *, problem: str | None = None) -> str:
    return render_template("sign_in/code.html", next=next_path, problem=problem)
