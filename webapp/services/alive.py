"""A sign of life, for whoever is to raise the alarm when it stays away."""

from __future__ import annotations

import requests
import structlog
from flask import current_app

from webapp import queue
from webapp.cliniko.deadline import DirectSession

log = structlog.get_logger()

SECONDS = 10.0


def tell() -> bool:
    """Call DEADMAN_URL if there is one and a worker lives; says whether it was heard, which only an
    answer of 200 to 299 tells.

    While no worker is connected we keep silent: that is what the alarm is for.
    """
    url = current_app.config["DEADMAN_URL"]
    if url is None or not queue.workers_connected():
        return False
    try:
        with DirectSession() as session:
            asked = session.get(url, timeout=SECONDS, allow_redirects=False, stream=True)
            with asked as answer:
                status = answer.status_code
    except requests.RequestException as error:
        log.warning("no_sign_of_life", error=type(error).__name__)
        return False
    if not 200 <= status <= 299:
        log.warning("no_sign_of_life", status=status)
        return False
    return True
