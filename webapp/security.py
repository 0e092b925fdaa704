"""What keeps browsers honest: headers on every answer, and CSRF tokens on every form."""

from __future__ import annotations

import hashlib
from urllib.parse import unquote_to_bytes

from flask import Blueprint, Flask, Response, current_app, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf import CSRFProtect
from flask_wtf.csrf import CSRFError
from itsdangerous import Signer
from werkzeug.exceptions import BadRequest, SecurityError
from werkzeug.wsgi import get_host

from webapp import front, request_ids
from webapp.errors import SentByOthers, ValidationError
from webapp.htmx import htmx_url
from webapp.services import callers


class _Forms(CSRFProtect):  # type: ignore[misc]
    def protect(self, apply_exemptions: bool = False) -> None:
        try:
            super().protect(apply_exemptions)
        except ValueError as error:  # over https: a Referer as https://[, which is no address
            raise CSRFError("The referrer cannot be read.") from error


csrf = _Forms()

REPORTS = "/csp-report"  # where browsers tell of what the policy refused
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'{htmx}",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "object-src 'none'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        f"report-uri {REPORTS}",
    )
)
_SWITCHED_OFF = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _SWITCHED_OFF),
}
TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"  # a year


class _Cookies(SecureCookieSessionInterface):
    """Signed with SHA-256: the framework takes SHA-1 unless it is told."""

    digest_method = staticmethod(hashlib.sha256)


def init_app(app: Flask) -> None:
    """Switch on request ids, headers and CSRF protection."""
    app.session_interface = _Cookies()
    # Flask-WTF signs the tokens of forms with whatever is the default.
    Signer.default_digest_method = staticmethod(hashlib.sha256)
    request_ids.init_app(app)
    app.before_request(_refuse_other_hosts)
    app.before_request(_refuse_unreadable_query)
    # Tied to the session and as long-lived: a dashboard stays open for hours.
    app.config.setdefault("WTF_CSRF_TIME_LIMIT", None)
    # Flask-WTF knows nothing of the earlier keys: of several the last one signs, and each holds.
    keys = [*app.config["SECRET_KEY_FALLBACKS"], app.config["SECRET_KEY"]]
    app.config["WTF_CSRF_SECRET_KEY"] = keys
    csrf.init_app(app)
    app.before_request(_refuse_other_sites)
    production = app.config["ENV"] == "production"
    # By its whole address: the bare CDN would allow every package that anybody publishes there.
    url = htmx_url(app)
    policy = _POLICY.format(htmx="" if url.startswith("/") else f" {url}")

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["Content-Security-Policy"] = policy
        if production:
            response.headers["Strict-Transport-Security"] = TRANSPORT_SECURITY
        if request.endpoint != "static" or response.status_code >= 400:
            response.headers["Cache-Control"] = "no-store"
            response.vary.add("HX-Request")  # a fragment is no page
        return response


def require_doors(app: Flask, *doors: Blueprint) -> None:
    """Raise LookupError for a route that stands beside every door, so that the application does
    not start with it: a door says whom it lets in, and whoever asks nobody lets in everybody."""
    known = {door.name for door in doors}
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "static" and rule.endpoint.rpartition(".")[0] not in known:
            raise LookupError(f"{rule} stands beside every door: put it into a blueprint")


def _refuse_other_hosts() -> None:
    """Not by Flask's TRUSTED_HOSTS: that leaves its own refusal without the addresses of pages."""
    try:
        known = get_host(request.environ, current_app.config["ALLOWED_HOSTS"]) != front.NO_NAME
    except SecurityError:
        known = False
    if not known:
        raise ValidationError(
            "This server does not go by the name in the header Host.", parameter="Host"
        )


def _refuse_unreadable_query() -> None:
    """Werkzeug reads bytes that are no text as question marks, or fails on them later."""
    try:
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError as error:
        raise BadRequest from error


def _refuse_other_sites() -> None:
    """Browsers tell which site made them send a form; those that do not say so name its origin.
    A second line behind the tokens. In the API cookies open nothing."""
    if request.method in ("GET", "HEAD", "OPTIONS", "TRACE") or callers.by_api():
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin is None or origin.partition("://")[2] == request.host
    if not ours:
        raise SentByOthers()
