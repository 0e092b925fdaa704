"""The one shape of every error of the API, and which HTTP status each error code has."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil

import structlog
from flask import Flask, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from webapp.auth.guards import organization_id_of
from webapp.cliniko.errors import ClinikoError, TimedOut
from webapp.clock import iso, now
from webapp.errors import AppError, ErrorCode, InvalidOrganizationId, NotFound

log = structlog.get_logger()

STATUS = {
    ErrorCode.AUTHENTICATION_REQUIRED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.INSUFFICIENT_PERMISSIONS: HTTPStatus.FORBIDDEN,
    ErrorCode.INVALID_ORGANIZATION_ID: HTTPStatus.BAD_REQUEST,
    ErrorCode.ORGANIZATION_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.VALIDATION_ERROR: HTTPStatus.BAD_REQUEST,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorCode.PAYLOAD_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.QUEUE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.SYNC_ALREADY_RUNNING: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.SYNC_NOT_RUNNING: HTTPStatus.CONFLICT,
    ErrorCode.SYNC_CANCELLED: HTTPStatus.CONFLICT,
    ErrorCode.SYNC_INTERRUPTED: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.SYNC_TIMEOUT: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.CLINIKO_AUTH_FAILED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.CLINIKO_FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorCode.CLINIKO_RATE_LIMITED: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.CLINIKO_UNAVAILABLE: HTTPStatus.BAD_GATEWAY,
    ErrorCode.CLINIKO_BAD_RESPONSE: HTTPStatus.BAD_GATEWAY,
    ErrorCode.CLINIKO_NOT_CONFIGURED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.CLINIKO_ACCOUNT_MISMATCH: HTTPStatus.CONFLICT,
    ErrorCode.CREDENTIALS_UNREADABLE: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.DATABASE_CONSTRAINT_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.DATABASE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.STORAGE_FULL: HTTPStatus.INSUFFICIENT_STORAGE,
    ErrorCode.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}

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
_DATABASE_UNAVAILABLE = (
    ErrorCode.DATABASE_UNAVAILABLE,
    "The database cannot be reached or is too busy. Try again in a moment.",
)
_INTERNAL_ERROR = (ErrorCode.INTERNAL_ERROR, AppError.default_message)


@dataclass(frozen=True)
class _Failure:
    """What is told of an error. `retry_after` is in seconds."""

    status: int
    error_code: ErrorCode
    message: str
    details: dict[str, object] = field(default_factory=dict)
    retry_after: float | None = None
    headers: dict[str, str] = field(default_factory=dict)


def init_app(app: Flask) -> None:
    """Answer every error: below /api here, elsewhere as `app.extensions["page_errors"]` says."""
    app.register_error_handler(Exception, _handle)


def is_api_request() -> bool:
    """Whether the request at hand is for the API, whether its address is known or not."""
    return request.path == "/api" or request.path.startswith("/api/")


def answer(error: Exception) -> Response:
    """An error as the API tells it. What nobody expected is logged, and not told."""
    failure = _failure_of(error)
    response = jsonify(
        error=True,
        message=failure.message,
        error_code=failure.error_code,
        details=_organization() | failure.details,
    )
    response.status_code = failure.status
    response.headers.update(failure.headers)
    if failure.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, ceil(failure.retry_after)))
    if failure.status == HTTPStatus.UNAUTHORIZED:
        # Also where the refusal is Cliniko's: its Basic would make browsers ask for a password.
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _handle(error: Exception) -> ResponseReturnValue:
    if is_api_request():
        return answer(error)
    page_errors = current_app.extensions.get("page_errors")
    if page_errors is not None:
        page: ResponseReturnValue = page_errors(error)
        return page
    if isinstance(error, HTTPException):
        return error
    raise error


def _failure_of(error: Exception) -> _Failure:
    match error:
        case AppError():
            code = error.error_code
            return _Failure(STATUS[code], code, error.message, error.details, error.retry_after)
        case ClinikoError():
            return _of_cliniko(error)
        case HTTPException():
            return _of_http(error)
        case OperationalError():
            log.error("database_unavailable", exc_info=error)
            status = STATUS[ErrorCode.DATABASE_UNAVAILABLE]
            return _Failure(status, *_DATABASE_UNAVAILABLE, retry_after=5)
        case _:
            log.error("request_failed", exc_info=error)
            return _Failure(HTTPStatus.INTERNAL_SERVER_ERROR, *_INTERNAL_ERROR)


def _of_cliniko(error: ClinikoError) -> _Failure:
    code = ErrorCode(error.error_code)
    status = HTTPStatus.GATEWAY_TIMEOUT if isinstance(error, TimedOut) else STATUS[code]
    details: dict[str, object] = {"failed_at": iso(now())}
    return _Failure(status, code, error.message, details, error.retry_after)


def _of_http(error: HTTPException) -> _Failure:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    told = _INTERNAL_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _BAD_REQUEST
    return _Failure(status, *_OF_HTTP.get(status, told), headers=headers)


def _organization() -> dict[str, object]:
    """The clinic that the address names, if it names one."""
    org_id = (request.view_args or {}).get("org_id", "")
    try:
        return {"organization_id": organization_id_of(org_id)}
    except InvalidOrganizationId:
        return {}
