"""Choosing a password by the link that somebody was given. Its secret stands in the query of the
address alone, which our log does not keep, and nothing is used up by looking."""

from __future__ import annotations

from flask import flash, render_template, request
from flask.typing import ResponseReturnValue

from webapp.errors import NotFound, ValidationError
from webapp.pages.blueprints import open_to_all
from webapp.pages.sign_in import let_in
from webapp.services import invitations, people


@open_to_all.get("/invitation")
def invitation() -> ResponseReturnValue:
    return _form(request.args.get("secret", ""))


@open_to_all.post("/invitation")
def accept_invitation() -> ResponseReturnValue:
    secret = request.form.get("secret", "")
    try:
        user = invitations.accept(secret, request.form.get("password", ""))
    except ValidationError as error:
        return _form(secret, problem=error.message)
    except NotFound:
        return _form("")
    answer = let_in(user, "")
    signed_in = user.second_factor_since is None
    flash("Your password was saved" + (", and you are signed in." if signed_in else "."), "ok")
    return answer


def _form(secret: str, problem: str | None = None) -> ResponseReturnValue:
    user = invitations.user_of(secret)
    status = 410 if user is None else 422 if problem else 200
    least = user and people.least_for(user)
    page = render_template(
        "invitation/form.html", secret=secret, person=user, least=least, problem=problem
    )
    # The address holds the secret. Not "no-referrer": the check of forms wants to see the origin.
    return page, status, {"Referrer-Policy": "strict-origin"}
