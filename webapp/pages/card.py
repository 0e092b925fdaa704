"""The card of one sync: the same fragment in every state, and polling only while it runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from webapp.clock import now
from webapp.models import SyncLog
from webapp.queue import workers_connected

# So long a sync may wait in the queue before we look whether any worker is there.
PATIENCE = timedelta(seconds=30)


def card_context(log: SyncLog | None) -> dict[str, Any]:
    """What `syncs/_card.html` needs beside the clinic."""
    return {"log": log, "no_worker": log is not None and _waits_in_vain(log)}


def _waits_in_vain(log: SyncLog) -> bool:
    waiting = log.is_running and log.worker is None and now() - log.started_at > PATIENCE
    return waiting and not workers_connected()
