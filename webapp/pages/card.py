"""The card of one sync: the same fragment in every state, and polling only while it runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import make_response, render_template
from flask.typing import ResponseReturnValue

from webapp.clock import now
from webapp.htmx import asked_by_htmx
from webapp.models import Organization, SyncLog
from webapp.pages.card_words import headline, is_apart, why_cancelled
from webapp.pages.redirects import lead_to
from webapp.queue import workers_connected
from webapp.sync import held, history
from webapp.sync.differences import differences

# So long a sync may wait in the queue before we look whether any worker is there.
PATIENCE = timedelta(seconds=30)


def card_context(log: SyncLog | None) -> dict[str, Any]:
    """What `syncs/_card.html` needs beside the clinic."""
    # A running sync asks Cliniko again, so nothing is to be decided; and it is asked for often.
    batches = [] if log is None or log.is_running else held.batches(log.organization_id)
    return {
        "log": log,
        "headline": log and headline(log),
        "why_cancelled": log and why_cancelled(log),
        "is_apart": log is not None and is_apart(log),
        "differences": differences(log) if log else {},
        "no_worker": log is not None and _waits_in_vain(log),
        "held": batches,
    }


def card(organization: Organization, log: SyncLog | None, notice: str | None = None) -> str:
    """The fragment alone."""
    return render_template(
        "syncs/_card.html", clinic=organization, notice=notice, **card_context(log)
    )


def card_or_page(organization: Organization, *, notice: str | None = None) -> ResponseReturnValue:
    """The card of the latest sync for htmx, the clinic's page for a plain form."""
    if not asked_by_htmx():
        return lead_to("pages.clinic", notice, "warn", org_id=organization.id)
    answer = make_response(card(organization, history.latest(organization), notice))
    if notice is None:
        answer.headers["HX-Trigger"] = "sync-changed"  # the rest of the page follows
    return answer


def _waits_in_vain(log: SyncLog) -> bool:
    waiting = log.is_running and log.worker is None and now() - log.waiting_since > PATIENCE
    return waiting and workers_connected() == 0
