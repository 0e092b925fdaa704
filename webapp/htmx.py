"""Which htmx the pages load and how it is set; templates and the Content-Security-Policy use it."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask, request

HTMX_VERSION: Final = "4.0.1"
HTMX_URL: Final = f"https://cdn.jsdelivr.net/npm/htmx.org@{HTMX_VERSION}/dist/htmx.min.js"
# The digest of dist/htmx.min.js in the package that npm serves for this version.
HTMX_INTEGRITY: Final = "sha384-Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn"

# The content of <meta name="htmx-config">. What htmx 4 could evaluate (hx-on, js:, filters of
# triggers) needs `eval`, which has no setting any more: the Content-Security-Policy refuses it.
HTMX_CONFIG: Final[dict[str, Any]] = {
    "mode": "same-origin",  # of fetch: no attribute can send a request elsewhere
    "history": False,  # nothing of a page is kept or fetched again for the Back button
    "prefix": "",  # attributes are hx-..., and data-hx-... mean nothing
    "includeIndicatorCSS": False,
    "noSwap": [204, 304, "4xx", "5xx"],  # htmx 4 would draw an error in the place of the answer
    "defaultTimeout": 30_000,
}


def htmx_url(app: Flask) -> str:
    """Where the pages of this application load htmx from: the CDN, unless HTMX_URL says otherwise.

    Wherever it is, browsers take it only if its digest is HTMX_INTEGRITY.
    """
    return app.config["HTMX_URL"] or HTMX_URL


def asked_by_htmx() -> bool:
    """Whether the request at hand wants a fragment, not a page."""
    return request.headers.get("HX-Request") == "true"


def shows_notices() -> bool:
    """Whether the answer is shown with what was flashed: whole, or all of its <main>. Of a page
    that htmx, or app.js, asks for to redraw a part, the rest is thrown away."""
    return not asked_by_htmx() or request.headers.get("HX-Target") == "main#main"
