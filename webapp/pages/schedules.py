"""The schedule of a clinic: when it is synced by itself, and what comes next."""

from __future__ import annotations

from datetime import datetime, time

from flask import request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import organization_for
from webapp.auth.sessions import current_actor
from webapp.clock import now
from webapp.errors import ValidationError
from webapp.models import Organization
from webapp.pages import parameters
from webapp.pages.attention import behind
from webapp.pages.blueprints import signed_in
from webapp.pages.redirects import lead_to
from webapp.pages.templating import render_clinic
from webapp.services import schedules, time_zones
from webapp.services.timetable import NIGHTLY_SPREAD, Run

SHOWN_RUNS = 3


@signed_in.get("/clinics/<org_id>/schedule")
def schedule(org_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.MANAGE_ORGANIZATION)
    return _page(organization)


@signed_in.post("/clinics/<org_id>/schedule")
def save_schedule(org_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.MANAGE_ORGANIZATION)
    try:
        schedules.save(
            organization,
            changes_every=parameters.number(request.form, "changes_every") or None,
            full_at=_time_of_day(),
            time_zone=request.form.get("time_zone") or None,
            actor=current_actor(),
        )
    except ValidationError as error:
        return _page(organization, errors={error.parameter: error.message}), 422
    return lead_to("pages.schedule", "The schedule was saved.", org_id=organization.id)


def _time_of_day() -> time | None:
    """What a field for a time sends, in hours and minutes; None where it is empty."""
    text = request.form.get("full_at", "")
    try:
        return time.fromisoformat(text).replace(second=0, tzinfo=None) if text else None
    except ValueError as error:
        raise ValidationError(
            "This is no time of day, as in 02:30.", parameter="full_at"
        ) from error


def _page(organization: Organization, errors: dict[str, str] | None = None) -> str:
    moment, chosen = now(), schedules.of(organization)
    runs, full_until = schedules.next_runs(organization, moment, SHOWN_RUNS), None
    if chosen is not None and chosen.full_at is not None:
        full_until = datetime.combine(moment, chosen.full_at) + NIGHTLY_SPREAD
        night = schedules.timetable(organization, chosen).next_full(moment)
        if night is not None and not any(run.full for run in runs):
            runs.append(Run(night, full=True))  # too far behind the next changes to be among them
    return render_clinic(
        "schedules/index.html",
        organization,
        schedule=chosen,
        runs=runs,
        full_until=full_until,
        last_run=schedules.last_run(organization),
        intervals=schedules.CHANGES_EVERY,
        zone=schedules.zone_of(organization),
        zones=time_zones.choices(),
        errors=errors or {},
        **behind(organization),
    )
