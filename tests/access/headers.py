"""The headers that every answer carries, whoever asks for whatever."""

from __future__ import annotations

from collections.abc import Iterator

from werkzeug import Response

from webapp.htmx import HTMX_URL

POLICY = {
    "default-src": "'none'",
    "script-src": f"'self' {HTMX_URL}",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "object-src": "'none'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "report-uri": "/csp-report",
}
EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SWITCHED_OFF = {"camera", "display-capture", "geolocation", "microphone", "payment", "usb"}
# The page whose address holds a secret tells others less than all others do.
REFERRERS = {"same-origin", "strict-origin"}


def wrong_headers(answer: Response, path: str) -> Iterator[str]:
    """What the answer to a request for this path lacks, or should not tell."""
    headers = answer.headers
    for name, value in EVERYWHERE.items():
        if headers.getlist(name) != [value]:
            yield f"{name} is {headers.getlist(name)}"
    if policies_of(answer) != [POLICY]:
        yield f"the policy is {headers.getlist('Content-Security-Policy')}"
    if {each.removesuffix("=()") for each in headers["Permissions-Policy"].split(", ")} != (
        SWITCHED_OFF
    ):
        yield f"Permissions-Policy is {headers['Permissions-Policy']}"
    if headers["Referrer-Policy"] not in REFERRERS:
        yield f"Referrer-Policy is {headers['Referrer-Policy']}"
    if path.startswith("/static/") and answer.status_code in (200, 304):
        if "no-store" in headers.get("Cache-Control", ""):
            yield "a file for everybody may not be kept"
    elif headers.get("Cache-Control") != "no-store":
        yield f"Cache-Control is {headers.get('Cache-Control')}"
    elif "hx-request" not in {name.lower() for name in answer.vary}:
        yield f"Vary is {headers.get('Vary')}"
    kind = headers.get("Content-Type", "")
    if answer.data and kind.startswith("text/") and "charset=" not in kind:
        yield f"{kind} names no charset"
    for name in headers.keys():  # noqa: SIM118
        if name.startswith("Access-Control-") or name in ("Server", "X-Powered-By"):
            yield f"it tells {name}"


def policies_of(answer: Response) -> list[dict[str, str]]:
    """Every Content-Security-Policy of an answer, its sources by directive."""
    return [
        dict(directive.split(" ", 1) for directive in policy.split("; "))
        for policy in answer.headers.getlist("Content-Security-Policy")
    ]
