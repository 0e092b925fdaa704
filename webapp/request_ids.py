"""The id of a request: on its answer, on every line that is logged while it is answered, and on
what it leaves in the audit trail."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, current_app, g, request

from webapp.services import callers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

HEADER = "X-Request-ID"
_ACCEPTED = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)


def init_app(app: Flask) -> None:
    """Give every request an id: the one that a proxy has chosen, if it is plain, or a new one."""
    app.before_request(_begin)
    app.after_request(_end)


def chosen(environ: WSGIEnvironment, *, proxies: int) -> str:
    """The id of this request: what stands in its header, if there are proxies in front and it is
    plain, or a new one. A stranger could give all their requests the id of somebody else's."""
    given = environ.get("HTTP_X_REQUEST_ID", "") if proxies else ""
    return given if _ACCEPTED.fullmatch(given) else secrets.token_hex(16)


def _begin() -> None:
    g.request_id = chosen(request.environ, proxies=current_app.config["TRUSTED_PROXIES"])
    # A thread serves one request after the other: forget what the last one bound.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    via = callers.Way.API if f"{request.path}/".startswith("/api/") else callers.Way.PAGE
    callers.current.set(callers.Caller(via, ip=request.remote_addr, request_id=g.request_id))


def _end(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    return response
