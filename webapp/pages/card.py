"""The card of one sync: the same fragment in every state, and polling only while it runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import flash, make_response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from webapp.auth.sessions import current_actor
from webapp.clock import now
from webapp.htmx import asked_by_htmx
from webapp.models import Organization, SyncLog
from webapp.pages.filters import took
from webapp.queue import workers_connected
from webapp.sync import held, history

# So long a sync may wait in the queue before we look whether any worker is there.
PATIENCE = timedelta(seconds=30)

# The cards of running syncs as they were last drawn, by sync and role, with what they were made of:
# drawing one costs more than everything else about a question, and there are many at once.
_living: dict[tuple[int, str], tuple[object, str]] = {}
MOST_KNOWN = 500


def card_context(log: SyncLog | None) -> dict[str, Any]:
    """What `syncs/_card.html` needs beside the clinic."""
    # A running sync asks Cliniko again, so nothing is to be decided; and it is asked for often.
    batches = [] if log is None or log.is_running else held.batches(log.organization_id)
    return {"log": log, "no_worker": log is not None and _waits_in_vain(log), "held": batches}


def card(organization: Organization, log: SyncLog | None, notice: str | None = None) -> str:
    """The fragment alone."""
    context = card_context(log)
    if log is None or not log.is_running or notice is not None:
        return _drawn(organization, notice, context)
    # Who watches a sync sees what all others in the same role see who look in the same second.
    shown = ({**vars(log), "_sa_instance_state": None}, context["no_worker"], took(log))
    known = _living.get((log.id, current_actor().role))
    if known is None or known[0] != shown:
        if len(_living) > MOST_KNOWN:
            _living.clear()
        known = _living[log.id, current_actor().role] = shown, _drawn(organization, None, context)
    return known[1]


def _drawn(organization: Organization, notice: str | None, context: dict[str, Any]) -> str:
    return render_template("syncs/_card.html", clinic=organization, notice=notice, **context)


def card_or_page(organization: Organization, *, notice: str | None = None) -> ResponseReturnValue:
    """The card of the latest sync for htmx, the clinic's page for a plain form."""
    if not asked_by_htmx():
        if notice is not None:
            flash(notice, "warn")
        return redirect(url_for("pages.clinic", org_id=organization.id), 303)
    answer = make_response(card(organization, history.latest(organization), notice))
    if notice is None:
        answer.headers["HX-Trigger"] = "sync-changed"  # the rest of the page follows
    return answer


def _waits_in_vain(log: SyncLog) -> bool:
    waiting = log.is_running and log.worker is None and now() - log.started_at > PATIENCE
    return waiting and not workers_connected()
