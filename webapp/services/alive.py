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
    """Call DEADMAN_URL if there is one and a worker lives; says whether it was called.

    While no worker is connected we keep silent: that is what the alarm is for.
    """
    url = current_app.config["DEADMAN_URL"]
    if url is None or not queue.workers_connected():
        return False
    try:
        with DirectSession() as session:
            session.get(url, timeout=SECONDS, allow_redirects=False, stream=True).close()
    except requests.RequestException as error:
        log.warning("no_sign_of_life", error=type(error).__name__)
        return False
    return True
