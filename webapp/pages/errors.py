"""Errors as the dashboard shows them: a page, or a small notice where htmx asked."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import structlog
from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from webapp.auth import sessions
from webapp.errors import (
    AppError,
    AuditUnavailable,
    AuthenticationRequired,
    DatabaseUnavailable,
    InsufficientPermissions,
    InvalidOrganizationId,
    NotFound,
    OrganizationDisabled,
    OrganizationNotFound,
    ProofRequired,
    QueueUnavailable,
    RateLimited,
    SecondFactorRequired,
    ValidationError,
)
from webapp.htmx import asked_by_htmx
from webapp.pages import confirm
from webapp.pages.redirects import lead_to
from webapp.pages.sign_in import form_again, safe_next

log = structlog.get_logger()


class _Words(NamedTuple):
    title: str
    text: str


_WORDS = {
    400: _Words("That cannot be understood", "Check the address or the form, and try again."),
    403: _Words(
        "You may not see or do this", "Your role does not allow it. Ask an admin for help."
    ),
    404: _Words("There is nothing here", "Check the address, or begin at the list of clinics."),
    405: _Words("That does not work here", "Begin again at the list of clinics."),
    413: _Words("That is too much", "What was sent is too large."),
    429: _Words("Too often", "Wait a moment, then try again."),
    500: _Words(
        "Something went wrong on our side",
        "Nothing was lost. Try again; if it stays, tell whoever runs Patient Sync.",
    ),
    503: _Words(
        "Patient Sync has trouble just now",
        "The database or the queue cannot be reached. Try again in a moment.",
    ),
}
_SIGN_IN_FORMS = ("open.sign_in", "open.sign_in_code")
_NOTHING_LOST = ("open.sign_out", "pages.session")  # forms that nobody has to send again
_EXPIRED = _Words(
    "This form was sent already, or was open for too long",
    "To be safe, nothing was done. Begin again at the list of clinics, or load the page before "
    "this one again, then repeat what you did.",
)


def answer(error: Exception) -> ResponseReturnValue:
    """What a person gets to see of an error."""
    if isinstance(error, AuthenticationRequired):
        return _to_sign_in()
    if isinstance(error, ProofRequired):
        return _to_confirm()
    if isinstance(error, SecondFactorRequired):
        return _to("pages.second_factor")
    if isinstance(error, CSRFError):
        return _refused_form()
    status = _status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("page_failed", exc_info=error)
    words = _WORDS.get(status, _WORDS[400 if status < 500 else 500])
    told = (AuditUnavailable, OrganizationDisabled, RateLimited, ValidationError)
    if isinstance(error, told):
        words = words._replace(text=error.message)
    leads_on = not isinstance(error, OrganizationDisabled)  # each clinic they have leads here
    return _show(status, words, _headers_of(error), leads_on=leads_on)


def _status_of(error: Exception) -> int:
    """That of the API for what a page expects; whatever else comes is a mistake of ours."""
    match error:
        case InsufficientPermissions() | OrganizationDisabled():
            return HTTPStatus.FORBIDDEN
        case NotFound() | OrganizationNotFound():
            return HTTPStatus.NOT_FOUND
        case InvalidOrganizationId() | ValidationError():
            return HTTPStatus.BAD_REQUEST
        case RateLimited():
            return HTTPStatus.TOO_MANY_REQUESTS
        case QueueUnavailable() | AuditUnavailable() | DatabaseUnavailable():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case HTTPException(code=int(code)):
            return code
        case AppError() | _:
            return HTTPStatus.INTERNAL_SERVER_ERROR


def _headers_of(error: Exception) -> dict[str, str]:
    if isinstance(error, AppError) and error.retry_after is not None:
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, MethodNotAllowed):
        return {"Allow": ", ".join(sorted(error.valid_methods or ()))}
    return {}


def _show(
    status: int, words: _Words, headers: dict[str, str], *, leads_on: bool = True
) -> ResponseReturnValue:
    if asked_by_htmx():
        return render_template("errors/_notice.html", words=words), status, headers
    # In trouble of our own nobody is looked up: the database may be what is down.
    known = status < HTTPStatus.INTERNAL_SERVER_ERROR and sessions.signed_in_user() is not None
    frame = "base.html" if known else "signed_out.html"
    shown = {"frame": frame, "status": int(status), "words": words, "leads_on": leads_on}
    return render_template("errors/page.html", **shown), status, headers


def _refused_form() -> ResponseReturnValue:
    """A form without its token. Whoever has signed in meanwhile, in another tab, is where the form
    of the sign-in would have led them; who has not gets that form again."""
    user, signs_in = sessions.signed_in_user(), request.endpoint in _SIGN_IN_FORMS
    if user is None:
        return form_again() if signs_in else _to_sign_in()
    if signs_in:
        flash(f"You were signed in already, as {user.email}.", "warn")
        return redirect(safe_next(request.form.get("next", "")), HTTPStatus.SEE_OTHER)
    return _show(400, _EXPIRED, {})


def _to_sign_in() -> ResponseReturnValue:
    """Whoever signs in comes back to the page they were at. Whoever signed out was done with it,
    and the next person may be another."""
    back = None if request.endpoint == "open.sign_out" else _page_at_hand()
    lost = request.method == "POST" and request.endpoint not in _NOTHING_LOST
    return _to(
        "open.sign_in", next=back if back not in ("", "/") else None, refused=1 if lost else None
    )


def _page_at_hand() -> str | None:
    """The path of the page that was asked for, or of the one that asks by htmx or sent a form."""
    if request.method in ("GET", "HEAD") and not asked_by_htmx():
        return request.path
    try:
        return urlsplit(request.referrer or "").path or None
    except ValueError:  # what a browser would not send, as "http://["
        return None


def _to(endpoint: str, **values: Any) -> ResponseReturnValue:
    """A fragment cannot show another page, so htmx is told to leave for it."""
    if asked_by_htmx():
        return "", HTTPStatus.UNAUTHORIZED, {"HX-Redirect": url_for(endpoint, **values)}
    return lead_to(endpoint, **values)


def _to_confirm() -> ResponseReturnValue:
    """A page is asked for again once the password was entered; a form that was sent is not."""
    reading = request.method in ("GET", "HEAD")
    back = _page_at_hand() or ""
    address = url_for("pages.confirm", next=back, refused=None if reading else 1)
    if asked_by_htmx():
        return "", HTTPStatus.FORBIDDEN, {"HX-Redirect": address}
    if reading:
        return redirect(address, HTTPStatus.SEE_OTHER)
    return confirm.form(back, refused=True), HTTPStatus.FORBIDDEN
