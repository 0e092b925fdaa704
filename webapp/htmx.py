"""Which htmx the pages load; templates and the Content-Security-Policy take it from here."""

from __future__ import annotations

from typing import Final

HTMX_VERSION: Final = "4.0.1"
HTMX_URL: Final = f"https://cdn.jsdelivr.net/npm/htmx.org@{HTMX_VERSION}/dist/htmx.min.js"
# The digest of dist/htmx.min.js in the package that npm serves for this version.
HTMX_INTEGRITY: Final = "sha384-Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn"
