"""The one shape of every error of the API, whichever road leads to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Annotated, Any, Literal

import structlog
from flask import Response, request
from pydantic import Field, JsonValue
from werkzeug.exceptions import HTTPException

from webapp.api.error_codes import STATUS
from webapp.api.shapes import Answer
from webapp.auth.guards import organization_id_of
from webapp.cliniko.errors import ClinikoError, TimedOut
from webapp.clock import iso, now
from webapp.errors import AppError, ErrorCode, InvalidOrganizationId, NotFound

log = structlog.get_logger()

_OF_HTTP = {
    404: (ErrorCode.NOT_FOUND, NotFound.default_message),
    405: (
        ErrorCode.METHOD_NOT_ALLOWED,
        "This method is not allowed here. The header Allow says which ones are.",
    ),
    413: (ErrorCode.PAYLOAD_TOO_LARGE, "The body is too large."),
    415: (
        ErrorCode.VALIDATION_ERROR,
        "Send the body as JSON, with the header Content-Type: application/json.",
    ),
}
_BAD_REQUEST = (ErrorCode.VALIDATION_ERROR, "The request cannot be read. Check its form.")
_INTERNAL_ERROR = (ErrorCode.INTERNAL_ERROR, AppError.default_message)


class Error(Answer):
    """Every answer of status 400 or above. `details` holds what is known: `organization_id`,
    `operation_type`, `failed_at`, `parameter`, `retry_at`, `sync_log_id` and others."""

    error: Literal[True] = True
    message: str
    # Text in the document, for codes may be added: a closed list would break whoever was told it.
    error_code: Annotated[
        str,
        Field(
            description="For programs. New ones may be added; none is renamed or dropped.",
            examples=[str(code) for code in ErrorCode],
        ),
    ]
    details: dict[str, JsonValue]


@dataclass(frozen=True)
class _Failure:
    """What is told of an error. `retry_after` is in seconds."""

    status: int
    error_code: ErrorCode
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    retry_after: float | None = None
    headers: dict[str, str] = field(default_factory=dict)


def answer(error: Exception) -> Response:
    """An error as the API tells it. What nobody expected is logged, and not told."""
    failure = _failure_of(error)
    told = Error(
        message=failure.message,
        error_code=failure.error_code,
        details=_organization() | failure.details,
    )
    response = Response(told.model_dump_json(), failure.status, mimetype="application/json")
    response.headers.update(failure.headers)
    if failure.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, ceil(failure.retry_after)))
    if failure.status == HTTPStatus.UNAUTHORIZED:
        # Also where the refusal is Cliniko's: its Basic would make browsers ask for a password.
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _failure_of(error: Exception) -> _Failure:
    match error:
        case AppError():
            code = error.error_code
            return _Failure(STATUS[code], code, error.message, error.details, error.retry_after)
        case ClinikoError():
            return _of_cliniko(error)
        case HTTPException():
            return _of_http(error)
        case _:
            log.error("request_failed", exc_info=error)
            return _Failure(HTTPStatus.INTERNAL_SERVER_ERROR, *_INTERNAL_ERROR)


def _of_cliniko(error: ClinikoError) -> _Failure:
    code = ErrorCode(error.error_code)
    status = HTTPStatus.GATEWAY_TIMEOUT if isinstance(error, TimedOut) else STATUS[code]
    details = {"failed_at": iso(now())}
    return _Failure(status, code, error.message, details, error.retry_after)


def _of_http(error: HTTPException) -> _Failure:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    told = _INTERNAL_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _BAD_REQUEST
    return _Failure(status, *_OF_HTTP.get(status, told), headers=headers)


def _organization() -> dict[str, Any]:
    """The clinic that the address names, if it names one."""
    org_id = (request.view_args or {}).get("org_id", "")
    try:
        return {"organization_id": organization_id_of(org_id)}
    except InvalidOrganizationId:
        return {}
