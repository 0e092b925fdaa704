"""POST /csp-report: browsers tell here what they refused because of the Content-Security-Policy.

Anybody can write anything here. So little of it is kept, few a minute, and nothing that could be
a secret or a name: of addresses the path of a page of ours and the host of somebody else's.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import structlog
from flask import request
from flask.typing import ResponseReturnValue
from limits import RateLimitItemPerMinute
from pydantic import BaseModel, Field, ValidationError

from webapp.errors import RateLimited
from webapp.limits import limiter
from webapp.pages.blueprints import open_to_all
from webapp.security import REPORTS, csrf

LONGEST = 8 * 1024  # bytes
MOST = RateLimitItemPerMinute(30, namespace="csp-reports")  # of all browsers together

log = structlog.get_logger()


class _Report(BaseModel):
    directive: str = Field("", alias="effective-directive")
    page: str = Field("", alias="document-uri")
    blocked: str = Field("", alias="blocked-uri")


class _Body(BaseModel):
    report: _Report = Field(alias="csp-report")


@open_to_all.post(REPORTS)
@csrf.exempt  # type: ignore[untyped-decorator]
def csp_report() -> ResponseReturnValue:
    """204 whatever it says: nobody reads the answer. Browsers send no token; nothing changes."""
    request.max_content_length = LONGEST
    try:
        report = _Body.model_validate_json(request.get_data()).report
    except ValidationError:
        return "", 204
    if not limiter.limiter.hit(MOST, "all"):
        raise RateLimited("Too many reports.", retry_after=60)
    log.warning(
        "csp_violation",
        directive=_plain(report.directive),
        page=_plain(_split(report.page)[1]),  # without the query: an invitation's secret is there
        blocked=_plain(_split(report.blocked)[0] or report.blocked),  # or `inline`, `eval`
    )
    return "", 204


def _plain(text: str) -> str:
    """The text if it could be a directive, a host or a path of ours; else nothing."""
    return text if re.fullmatch("[A-Za-z0-9/._-]{1,100}", text) else ""


def _split(address: str) -> tuple[str, str]:
    """Host and path; nothing of what is no address."""
    try:
        parts = urlsplit(address)
        return parts.hostname or "", parts.path
    except ValueError:
        return "", ""
