"""Whether somebody should look at a clinic, for the list, and why, for the page of the clinic."""

from __future__ import annotations

from typing import Any

from webapp.clock import now
from webapp.models import Organization, SyncLog
from webapp.pages.outcome import Outcome, outcome
from webapp.queue import workers_connected
from webapp.services import clinic_figures, schedules
from webapp.services.clinic_figures import ClinicFigures
from webapp.sync import held, history


def needs_attention(figures: ClinicFigures, left_out: bool) -> bool:
    """Whether somebody should look: the last sync, or the last of all patients, has failed, it left
    something out or awaits a decision, records of an earlier one are not stored yet, the key is
    missing or was refused, or the schedule is not kept. About a disabled clinic nobody has to do
    anything."""
    organization, latest, full = figures.organization, figures.latest, figures.last_full
    if organization.disabled_at is not None:
        return False
    partly = left_out or (latest is not None and outcome(latest) is Outcome.PARTLY)
    failed = any(log is not None and outcome(log) is Outcome.FAILED for log in (latest, full))
    refused = organization.connection_error_code is not None
    waits = figures.removals_wait or figures.overdue
    return partly or failed or waits or refused or not organization.is_configured


def attention_context(organization: Organization, latest: SyncLog | None) -> dict[str, Any]:
    """What `clinics/_attention.html` needs beside the clinic: the reasons that neither the card of
    the latest sync tells nor that of the connection or of the patients."""
    if organization.disabled_at is not None:
        return {}
    full = clinic_figures.last_full(organization)
    earlier = full is not None and latest is not None and full.id < latest.id
    running = latest is not None and latest.is_running
    return {
        "failed_full": full if full and earlier and outcome(full) is Outcome.FAILED else None,
        # Of a sync that has ended the card tells it.
        "held_meanwhile": [
            batch
            for batch in (held.batches(organization.id) if running else [])
            if not batch.kept_at
        ],
        **behind(organization),
    }


def behind(organization: Organization) -> dict[str, bool]:
    """Whether a clinic is overdue, and if so whether that is because nobody works, and whether a
    sync runs that brings it in step when it completes."""
    overdue = schedules.overdue(organization, now())
    log = history.latest_in_step(organization) if overdue else None
    return {
        "overdue": overdue,
        "nobody_works": overdue and workers_connected() == 0,
        "in_reach": log is not None and log.is_running and log.cancel_requested_at is None,
    }
