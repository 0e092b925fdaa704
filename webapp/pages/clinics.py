"""The clinics: the list, adding one, and the page of each."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import fresh, organization_for, require
from webapp.auth.sessions import current_actor
from webapp.errors import ValidationError
from webapp.models import OperationType
from webapp.pages.attention import attention_context, needs_attention
from webapp.pages.blueprints import signed_in
from webapp.pages.card import card_context
from webapp.pages.redirects import lead_to
from webapp.pages.sync_bars import picture
from webapp.pages.templating import render_clinic
from webapp.services import clinic_figures, names, organizations
from webapp.sync import failures, forgotten, history

RECENT = 5  # in the table
PICTURED = 30


@signed_in.get("/")
def home() -> ResponseReturnValue:
    return lead_to("pages.clinics")


@signed_in.get("/clinics")
def clinics() -> str:
    figures = clinic_figures.figures(organizations.visible_to(current_actor()))
    active = [row.organization.id for row in figures if row.organization.disabled_at is None]
    left_out = failures.with_some_open(active)
    attention = sum(needs_attention(row, row.organization.id in left_out) for row in figures)
    places = clinic_figures.SHOWN_SYNCS
    return render_template(
        "clinics/index.html",
        figures=figures,
        names=names.told_apart({row.organization.id: row.organization.name for row in figures}),
        left_out=left_out,
        attention=attention,
        places=places,
    )


@signed_in.get("/clinics/new")
@fresh
def new_clinic() -> str:
    require(current_actor(), Action.ADD_ORGANIZATION)
    return render_template("clinics/new.html", name="", errors={})


@signed_in.post("/clinics/new")
@fresh
def add_clinic() -> ResponseReturnValue:
    require(current_actor(), Action.ADD_ORGANIZATION)
    name, api_key = request.form.get("name", ""), request.form.get("api_key", "")
    try:
        if not api_key.strip():
            raise ValidationError("Enter the API key of the clinic.", parameter="api_key")
        scheduled = "scheduled" in request.form
        organization = organizations.add(name, api_key, scheduled=scheduled, actor=current_actor())
    except ValidationError as error:
        errors = {error.parameter: error.message}
        return render_template("clinics/new.html", name=name, errors=errors), 422
    done = f"{organization.name} was added. Test the connection, then sync its patients."
    return lead_to("pages.clinic", done, org_id=organization.id)


@signed_in.get("/clinics/<org_id>")
def clinic(org_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.VIEW_SYNCS)
    logs = history.find(organization, limit=PICTURED).logs
    latest = logs[0] if logs else None
    return render_clinic(
        "clinics/show.html",
        organization,
        recent=logs[:RECENT],
        pictured=picture(logs, PICTURED),
        last_completed=history.last_completed(organization),
        forgotten=forgotten.count(organization),
        open_failures=failures.open_keys(organization.id),
        last_full_sync=history.last_completed(organization, OperationType.FULL_PATIENTS),
        **attention_context(organization, latest),
        **card_context(latest),
    )
