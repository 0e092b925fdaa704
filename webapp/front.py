"""What stands between the web server and Flask: the proxies we trust, the addresses that they tell,
hosts that no name can be, and bodies that break off."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.wsgi import get_host

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

UNKNOWN = "unknown"  # the address of whoever has none that can be read: one for all of them
NO_NAME = "no-name.invalid"  # what a Host becomes that is none; .invalid is nobody's (RFC 2606)
_BRACKETED = re.compile(r"\[([^\]]*)\](:[0-9]*)?")


def init_app(app: Flask) -> None:
    """Believe as many proxies as TRUSTED_PROXIES says, and nobody who stands before them."""
    app.wsgi_app = _WholeBodies(  # type: ignore[method-assign]
        _PlainAddresses(_PossibleHosts(app.wsgi_app))
    )
    proxies = app.config["TRUSTED_PROXIES"]
    if proxies:
        app.wsgi_app = _Proxies(app.wsgi_app, proxies)  # type: ignore[method-assign]
    # Werkzeug would lead // to / with an absolute address, made from whatever Host was sent.
    app.url_map.merge_slashes = False


def plain(address: str) -> str:
    """The IP address alone, for limits, sessions and the audit trail. Some proxies write a port
    behind it, IPv6 in brackets or IPv4 as IPv6: with each port somebody would be somebody else."""
    text = address.strip()
    if bracketed := _BRACKETED.fullmatch(text):
        text = bracketed[1]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text.partition("%")[0])  # the zone behind it names a network card
    except ValueError:  # nonsense, or a proxy on a socket
        return UNKNOWN
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


class _Proxies:
    """Takes address and scheme as the first of so many proxies has seen them.

    Each appends the address it was asked from; only the last ones are theirs. Not by Werkzeug's
    ProxyFix: it reads quotes, so one that a stranger opens would hide all that is appended, and the
    proxy's own address would be theirs.
    """

    def __init__(self, app: WSGIApplication, count: int) -> None:
        self._app = app
        self._count = count

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "HTTP_X_FORWARDED_FOR" in environ:
            environ["REMOTE_ADDR"] = self._told(environ["HTTP_X_FORWARDED_FOR"])
        scheme = self._told(environ.get("HTTP_X_FORWARDED_PROTO", "")).lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        return self._app(environ, start_response)

    def _told(self, header: str) -> str:
        """Nothing, which is nobody's address, where fewer have appended."""
        parts = header.split(",")
        return parts[-self._count].strip() if len(parts) >= self._count else ""


class _PlainAddresses:
    """Tells the application of plain addresses alone, whoever has written them."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["REMOTE_ADDR"] = plain(environ.get("REMOTE_ADDR", ""))
        return self._app(environ, start_response)


class _PossibleHosts:
    """Replaces a Host that DNS could not know, as `a..b` or one with a label of 64 letters.

    Werkzeug cannot make addresses from it, those of our own error pages neither, so the error would
    leave the application.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            get_host(environ).partition(":")[0].encode("idna")
        except UnicodeError:
            environ["HTTP_HOST"] = NO_NAME
        return self._app(environ, start_response)


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
