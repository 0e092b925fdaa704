"""Logs: one JSON object a line, UTC, with the id of the request or the sync it belongs to."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from flask import Flask


class _JsonLines(logging.StreamHandler[TextIO]):
    """Our own handler, told from those of a test runner."""


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def init_app(app: Flask) -> None:
    """Send everything that is logged, ours and the libraries', to standard error as JSON lines."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = _JsonLines(sys.stderr)
    handler.setFormatter(json_lines())
    root = logging.getLogger()
    # A second application in the same process, as in tests, replaces the handler of the first.
    root.handlers = [other for other in root.handlers if not isinstance(other, _JsonLines)]
    root.addHandler(handler)
    root.setLevel(app.config["LOG_LEVEL"].upper())
    # At any level: addresses may hold a patient's name that somebody searched for; the others only
    # chatter.
    for name in ("urllib3", "werkzeug", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns of headers that it cannot read, with the whole address and what the other side said:
    # there may be a secret in either.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


def json_lines() -> logging.Formatter:
    """Writes whatever was logged, by us or by a library, as one JSON object in one line."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
