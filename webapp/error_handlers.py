"""Where every error of a request ends: it is put on record if it refuses somebody, and told as the
API or the dashboard tells it."""

from __future__ import annotations

import structlog
from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm.exc import ObjectDeletedError

from webapp.api import errors as api_errors
from webapp.errors import DatabaseUnavailable, NotFound
from webapp.limits import refusals
from webapp.pages import errors as page_errors
from webapp.services import callers

log = structlog.get_logger()


def init_app(app: Flask) -> None:
    """Answer every error."""
    app.register_error_handler(Exception, _answer)


def _answer(error: Exception) -> ResponseReturnValue:
    try:
        refusals.note(error)
        return _answer_to(error)
    except (OperationalError, NoConnectionFree) as trouble:
        return _answer_to(trouble)  # who was refused could not be looked up


def _answer_to(error: Exception) -> ResponseReturnValue:
    known = _in_our_words(error)
    return api_errors.answer(known) if callers.by_api() else page_errors.answer(known)


def _in_our_words(error: Exception) -> Exception:
    match error:
        case ObjectDeletedError():  # somebody has deleted meanwhile what this request had found
            return NotFound()
        case OperationalError() | NoConnectionFree():
            log.error("database_unavailable", exc_info=error)
            return DatabaseUnavailable()
        case _:
            return error
