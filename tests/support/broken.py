"""The application as gunicorn finds it when an error gets past every handler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

import webapp

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def create_app() -> Flask:
    """Whole, but for the path /broken."""
    app = webapp.create_app()
    whole = app.wsgi_app

    def broken(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/broken":
            raise RuntimeError("nobody has caught this")
        return whole(environ, start_response)

    app.wsgi_app = broken  # type: ignore[method-assign]
    return app
