"""Removals that a sync held back: who they are, and what an admin decides."""

from __future__ import annotations

from collections.abc import Callable

from flask import flash, request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import fresh, id_of, organization_for
from webapp.auth.sessions import current_actor
from webapp.errors import RemovalsNotHeld, SyncAlreadyRunning
from webapp.pages import parameters
from webapp.pages.blueprints import signed_in
from webapp.pages.card import card_or_page
from webapp.pages.templating import render_clinic
from webapp.sync import held, history

PER_PAGE = 50
_RUNNING = (
    "A sync of this clinic is running and asks Cliniko again. Nothing was changed; decide when it "
    "has ended."
)


@signed_in.get("/clinics/<org_id>/syncs/<sync_id>/removals")
def removals(org_id: str, sync_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.VIEW_PATIENTS)
    log = history.get(organization, id_of(sync_id))
    page = parameters.page_number(request.args)
    found = held.look(log, actor=current_actor(), limit=PER_PAGE, offset=(page - 1) * PER_PAGE)
    batches = held.batches(organization.id)
    return render_clinic(
        "removals/index.html",
        organization,
        log=log,
        latest=history.latest(organization),
        batch=next((each for each in batches if each.sync_log_id == log.id), None),
        found=found,
        page=page,
        per_page=PER_PAGE,
    )


@signed_in.post("/clinics/<org_id>/syncs/<sync_id>/removals/confirm")
@fresh
def confirm_removals(org_id: str, sync_id: str) -> ResponseReturnValue:
    return _decide(org_id, sync_id, held.confirm, "marked deleted")


@signed_in.post("/clinics/<org_id>/syncs/<sync_id>/removals/dismiss")
def dismiss_removals(org_id: str, sync_id: str) -> ResponseReturnValue:
    return _decide(org_id, sync_id, held.dismiss, "kept")


def _decide(
    org_id: str, sync_id: str, decide: Callable[..., int], done: str
) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.DECIDE_REMOVALS)
    log = history.get(organization, id_of(sync_id))
    # What became of it stands outside the card, which the next poll draws anew.
    try:
        patients = decide(organization, log, actor=current_actor())
    except SyncAlreadyRunning:
        flash(_RUNNING, "warn")
    except RemovalsNotHeld as refusal:
        flash(refusal.message, "warn")
    else:
        if patients:
            words = "1 patient was" if patients == 1 else f"{patients:,} patients were"
            flash(f"{words} {done}.", "ok")
    return card_or_page(organization)
