"""Syncs: starting and cancelling one, its live card, the history, and one in detail."""

from __future__ import annotations

from contextlib import suppress

from flask import flash, make_response, request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import id_of, organization_for
from webapp.auth.sessions import current_actor
from webapp.errors import (
    ClinikoNotConfigured,
    OrganizationDisabled,
    QueueUnavailable,
    RateLimited,
    SyncAlreadyRunning,
    SyncNotRunning,
)
from webapp.limits import refusals
from webapp.models import OperationType, SyncOrigin, SyncStatus
from webapp.pages import parameters
from webapp.pages.blueprints import signed_in
from webapp.pages.card import card, card_context, card_or_page
from webapp.pages.card_words import not_started
from webapp.pages.templating import render_clinic
from webapp.pages.timeline import timeline
from webapp.services import patients
from webapp.sync import history
from webapp.sync.failures import open_keys
from webapp.sync.start import cancel_sync, start_sync

PER_PAGE = 25


@signed_in.post("/clinics/<org_id>/syncs")
def start(org_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.START_SYNC)
    asked = parameters.choice(request.form, "operation_type", OperationType)
    asked = asked or OperationType.FULL_PATIENTS
    if asked is OperationType.RETRY_FAILED and not open_keys(organization.id):
        return card_or_page(organization, notice="There is no failed record to try again.")
    try:
        start_sync(organization, asked, actor=current_actor(), origin=SyncOrigin.DASHBOARD)
    except SyncAlreadyRunning as refusal:
        running = OperationType(str(refusal.details["operation_type"]))
        if running is not asked:  # outside the card, which the next poll draws anew
            flash(not_started(asked, running), "warn")
    except QueueUnavailable:
        pass  # the card shows why the new one has failed
    except (ClinikoNotConfigured, OrganizationDisabled, RateLimited) as refusal:
        refusals.note(refusal)
        return card_or_page(organization, notice=refusal.message)
    return card_or_page(organization)


@signed_in.post("/clinics/<org_id>/syncs/<sync_id>/cancel")
def cancel(org_id: str, sync_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.CANCEL_SYNC)
    # An old page must not cancel a newer sync; one that has ended meanwhile is shown as it is.
    log = history.get(organization, id_of(sync_id))
    if log.is_running:
        with suppress(SyncNotRunning):
            cancel_sync(organization, actor=current_actor(), sync_log_id=log.id)
    return card_or_page(organization)


@signed_in.get("/clinics/<org_id>/syncs/<sync_id>/progress")
def progress(org_id: str, sync_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.VIEW_SYNCS)
    log = history.get(organization, id_of(sync_id))
    answer = make_response(card(organization, log))
    if not log.is_running:
        answer.headers["HX-Trigger"] = "sync-finished"
    return answer


@signed_in.get("/clinics/<org_id>/syncs/news")
def news(org_id: str) -> ResponseReturnValue:
    """Whether a sync has begun after that one, here or elsewhere, or has ended that the page shows
    as running: an open page then follows."""
    organization = organization_for(current_actor(), org_id, Action.VIEW_SYNCS)
    after, latest = parameters.number(request.args, "after"), history.latest(organization)
    begun = latest is not None and latest.id > after
    ended = "running" in request.args and not (latest and latest.is_running)
    return "", {"HX-Trigger": "sync-changed"} if begun or ended else {}


@signed_in.get("/clinics/<org_id>/syncs")
def syncs(org_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.VIEW_SYNCS)
    page = parameters.page_number(request.args)
    status = parameters.choice(request.args, "status", SyncStatus)
    operation_type = parameters.choice(request.args, "operation_type", OperationType)
    latest = history.latest(organization)  # first: what begins meanwhile is news
    found = history.find(
        organization,
        limit=PER_PAGE,
        offset=(page - 1) * PER_PAGE,
        status=status,
        operation_type=operation_type,
    )
    chosen = {"status": status, "operation_type": operation_type}
    return render_clinic(
        "syncs/index.html",
        organization,
        latest=latest,
        found=found,
        page=page,
        per_page=PER_PAGE,
        chosen=chosen,
    )


@signed_in.get("/clinics/<org_id>/syncs/<sync_id>")
def sync(org_id: str, sync_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.VIEW_SYNCS)
    log = history.get(organization, id_of(sync_id))
    page = parameters.page_number(request.args)
    failures = history.failures(log, limit=PER_PAGE, offset=(page - 1) * PER_PAGE)
    failed = [each.cliniko_patient_id for each in failures]
    return render_clinic(
        "syncs/show.html",
        organization,
        failures=failures,
        failure_count=history.failure_count(log),
        open_failures=open_keys(organization.id) if failed else [],
        stored=patients.ids_of(organization, failed) if failed else {},
        stretches=timeline(log),
        page=page,
        per_page=PER_PAGE,
        **card_context(log),
    )
