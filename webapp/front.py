"""What stands between the web server and Flask: the proxies we trust, and bodies that break off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def init_app(app: Flask) -> None:
    """Believe as many proxies as TRUSTED_PROXIES says, and nobody who stands before them."""
    app.wsgi_app = _WholeBodies(app.wsgi_app)  # type: ignore[method-assign]
    proxies = app.config["TRUSTED_PROXIES"]
    if proxies:
        # Each proxy appends the address it was asked from; only the last ones are theirs.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=0, x_prefix=0
        )
    # Werkzeug would lead // to / with an absolute address, made from whatever Host was sent.
    app.url_map.merge_slashes = False


class _WholeBodies:
    """Refuses a body that ends before its Content-Length.

    gunicorn says that it ends bodies by itself, and so Werkzeug does not count any more: half a
    form, from a client that was cut off, would be taken for the whole of it.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("CONTENT_LENGTH"):
            environ.pop("wsgi.input_terminated", None)
        return self._app(environ, start_response)
