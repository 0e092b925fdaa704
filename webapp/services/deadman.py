"""A sign of life, for whoever is to raise the alarm when it stays away."""

from __future__ import annotations

import requests
import structlog
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from webapp import queue
from webapp.outbound.deadline import DirectSession
from webapp.services import audit

log = structlog.get_logger()

SECONDS = 10.0


def tell() -> bool:
    """Call DEADMAN_URL if there is one, a worker lives and the database can be written to; says
    whether it was heard, which only an answer of 200 to 299 tells.

    Otherwise we keep silent: that is what the alarm is for. Without the database no mail is
    written either.
    """
    url = current_app.config["DEADMAN_URL"]
    if url is None or not queue.workers_connected():
        return False
    try:
        audit.try_to_write()
        with DirectSession() as session:
            asked = session.get(url, timeout=SECONDS, allow_redirects=False, stream=True)
            with asked as answer:
                status = answer.status_code
    except (SQLAlchemyError, requests.RequestException) as error:
        log.warning("no_sign_of_life", error=type(error).__name__)
        return False
    if not 200 <= status <= 299:
        log.warning("no_sign_of_life", status=status)
        return False
    return True
