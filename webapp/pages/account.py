"""One's own account: the page with its sessions, another password, mails about syncs, and signing
out everywhere else."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from webapp.auth import sessions
from webapp.auth.guards import fresh
from webapp.auth.sessions import current_actor
from webapp.errors import RateLimited, ValidationError
from webapp.models import User
from webapp.pages.blueprints import signed_in
from webapp.pages.confirm import check_password
from webapp.pages.redirects import lead_to
from webapp.pages.refused import refusal
from webapp.services import mail, notices, people
from webapp.services import sessions as sessions_service


@signed_in.get("/account")
def account() -> str:
    return _page()


@signed_in.post("/account/password")
def change_password() -> ResponseReturnValue:
    """Everything else that one had opened ends; here one stays signed in."""
    user = current_actor()
    try:
        check_password(user, request.form.get("current", ""))
        people.set_password(user, request.form.get("password", ""), actor=user)
    except (RateLimited, ValidationError) as error:
        field = error.parameter if isinstance(error, ValidationError) else "current"
        return refusal(_page(errors={field: error.message}), error)
    return stay(user, "Your new password was saved. Everywhere else you are signed out.")


@signed_in.post("/account/notices")
def want_notices() -> ResponseReturnValue:
    wanted = bool(request.form.get("notices"))
    notices.want(current_actor(), wanted)
    if wanted and not mail.is_set_up():
        waits = "Saved. You get mails about syncs as soon as a mail server is set up."
        return lead_to("pages.account", waits, "warn")
    mails = "mails" if wanted else "no mails"
    return lead_to("pages.account", f"You get {mails} about syncs from now on.")


@signed_in.post("/account/sign-out-everywhere")
@fresh
def sign_out_everywhere() -> ResponseReturnValue:
    sessions.sign_out_elsewhere()
    done = "You are signed out everywhere else, and your API tokens have ended."
    return lead_to("pages.account", done)


def stay(user: User, words: str) -> ResponseReturnValue:
    """Stay signed in though everything that one had opened has ended."""
    sessions.sign_in(user)
    return lead_to("pages.account", words)


def _page(errors: dict[str, str] | None = None) -> str:
    person, here = current_actor(), sessions.current_session()
    return render_template(
        "account/index.html",
        person=person,
        errors=errors or {},
        least=people.least_for(person),
        sessions=sessions_service.of(person),
        here=here,
        mail_is_set_up=mail.is_set_up(),
    )
