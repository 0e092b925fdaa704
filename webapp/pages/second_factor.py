"""One's own second factor: setting it up, other recovery codes, removing it."""

from __future__ import annotations

import io

import segno
from flask import Response, render_template, request
from flask.typing import ResponseReturnValue

from webapp.auth import second_factor as at_this_browser
from webapp.auth import sessions
from webapp.auth.sessions import current_actor
from webapp.errors import NotFound, RateLimited, ValidationError
from webapp.pages.account import stay
from webapp.pages.blueprints import signed_in
from webapp.pages.confirm import check_password
from webapp.pages.redirects import lead_to
from webapp.pages.refused import refusal
from webapp.services import second_factor as factor


@signed_in.get("/account/second-factor")
def second_factor() -> str:
    return _page()


@signed_in.get("/account/second-factor/qr.svg")
def second_factor_qr() -> Response:
    """A file of its own: the Content-Security-Policy lets no data into a page as a picture."""
    pending = at_this_browser.pending()
    if pending is None:
        raise NotFound()
    picture = io.BytesIO()
    code = segno.make(pending.uri, micro=False)
    code.save(picture, kind="svg", scale=4, dark="#000", light="#fff", xmldecl=False)
    return Response(picture.getvalue(), mimetype="image/svg+xml")


@signed_in.post("/account/second-factor")
def begin_second_factor() -> ResponseReturnValue:
    try:
        check_password(current_actor(), request.form.get("current", ""))
        at_this_browser.begin()
    except (RateLimited, ValidationError) as error:
        return _refused(error)
    return lead_to("pages.second_factor")


@signed_in.post("/account/second-factor/confirm")
def confirm_second_factor() -> ResponseReturnValue:
    """Shows the recovery codes in this one answer; they can be read nowhere afterwards. Here one
    stays signed in, nowhere else."""
    user = current_actor()
    if at_this_browser.pending() is None:
        lapsed = "The key has lapsed, or another was made elsewhere. Begin again."
        is_on = user.second_factor_since is not None
        return lead_to("pages.second_factor", None if is_on else lapsed, "warn")
    try:
        codes = factor.confirm(user, request.form.get("code", ""))
    except ValidationError as error:
        return _refused(error)
    sessions.sign_in(user)
    return _page(codes=codes)


@signed_in.post("/account/second-factor/recovery-codes")
def new_recovery_codes() -> ResponseReturnValue:
    user = current_actor()
    try:
        check_password(user, request.form.get("current", ""))
    except (RateLimited, ValidationError) as error:
        return _refused(error)
    return _page(codes=factor.new_recovery_codes(user))


@signed_in.post("/account/second-factor/remove")
def remove_second_factor() -> ResponseReturnValue:
    user, password = current_actor(), request.form.get("current", "")
    try:
        check_password(user, password)
        factor.remove(user, password)
    except (RateLimited, ValidationError) as error:
        return _refused(error, field="remove")
    return stay(user, "Your second factor was removed. Everywhere else you are signed out.")


def _refused(error: RateLimited | ValidationError, field: str | None = None) -> ResponseReturnValue:
    """The page again; the words stand at the field that the error names, or at this one."""
    names = error.parameter if isinstance(error, ValidationError) else "current"
    return refusal(_page(errors={field or names: error.message}), error)


def _page(codes: list[str] | None = None, errors: dict[str, str] | None = None) -> str:
    person = current_actor()
    return render_template(
        "account/second_factor.html",
        person=person,
        pending=at_this_browser.pending(),
        must=factor.is_missing(person.role, person.second_factor_since),
        left=factor.recovery_codes_left(person),
        codes=codes,
        errors=errors or {},
    )
