"""Logs: one JSON object a line, UTC, with the id of the request or the sync it belongs to."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from flask import Flask


class _JsonLines(logging.StreamHandler[TextIO]):
    """Our own handler, told from those of a test runner."""


def init_app(app: Flask) -> None:
    """Send everything that is logged, ours and the libraries', to standard error as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = _JsonLines(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    # A second application in the same process, as in tests, replaces the handler of the first.
    root.handlers = [other for other in root.handlers if not isinstance(other, _JsonLines)]
    root.addHandler(handler)
    root.setLevel(app.config["LOG_LEVEL"].upper())
    # At any level: addresses may hold a patient's name that somebody searched for; the others only
    # chatter.
    for name in ("urllib3", "werkzeug", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
