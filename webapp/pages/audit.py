"""The audit trail: who did and saw what, of one clinic or of all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta, tzinfo
from functools import partial
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import organization_for, require_everywhere
from webapp.auth.sessions import current_actor
from webapp.clock import iso
from webapp.errors import RateLimited, ValidationError
from webapp.limits import per_person
from webapp.models import Organization
from webapp.pages import audit_words, confirm, csv_file, parameters
from webapp.pages.blueprints import signed_in
from webapp.pages.refused import refusal
from webapp.pages.templating import render_clinic
from webapp.services import audit_trail, organizations, schedules
from webapp.services.audit import Result
from webapp.services.audit_events import Event
from webapp.services.audit_trail import TrailFilter

PER_PAGE = 50
NO_CLINIC = 0
HEADS = (
    *("Time", "Who", "Role", "What", "Result", "Clinic id", "To what", "Details", "By way of"),
    *("Address", "Request", "Event", "Number in its chain", "Hash"),
)


@signed_in.get("/audit")
def audit() -> str:
    return _page(*_everywhere(request.args))


@signed_in.post("/audit/export")
def export_audit() -> ResponseReturnValue:
    return _file(*_everywhere(request.form))


@signed_in.get("/clinics/<org_id>/audit")
def clinic_audit(org_id: str) -> str:
    return _page(*_of_clinic(_clinic(org_id), request.args))


@signed_in.post("/clinics/<org_id>/audit/export")
def export_clinic_audit(org_id: str) -> ResponseReturnValue:
    organization = _clinic(org_id)
    return _file(*_of_clinic(organization, request.form), schedules.clock_of(organization))


def _clinic(org_id: str) -> Organization:
    return organization_for(current_actor(), org_id, Action.VIEW_AUDIT)


def _everywhere(source: parameters.Source) -> tuple[Callable[..., str], TrailFilter]:
    """What draws the page of all clinics, and which events are asked for."""
    require_everywhere(current_actor(), Action.VIEW_AUDIT)
    names = {NO_CLINIC: "No clinic"} | organizations.names_for(current_actor())
    asked = _asked_for(source, _number(source, "clinic"))
    chosen = {} if asked.chain is None else {"clinic": asked.chain}
    fields = _fields(asked) | chosen
    return partial(render_template, "audit/index.html", clinics=names, fields=fields), asked


def _of_clinic(
    organization: Organization, source: parameters.Source
) -> tuple[Callable[..., str], TrailFilter]:
    """The same for one clinic."""
    asked = _asked_for(source, organization.id, schedules.clock_of(organization))
    return partial(render_clinic, "audit/clinic.html", organization, fields=_fields(asked)), asked


def _page(render: Callable[..., str], asked: TrailFilter, problem: str | None = None) -> str:
    before = parameters.number(request.args, "before") or None
    found = audit_trail.find(asked, limit=PER_PAGE, before=before)
    return render(
        asked=asked,
        found=found,
        there=audit_trail.still_there(found.events),
        before=before,
        problem=problem,
        events={each: audit_words.choice_words(each) for each in Event},
        words=audit_words,
    )


def _file(
    render: Callable[..., str], asked: TrailFilter, zone: tzinfo = UTC
) -> ResponseReturnValue:
    """The password is asked for beside the button, as for the file of patients."""
    try:
        confirm.prove(request.form.get("current", ""))
        export = audit_trail.choose(asked)
        per_person.count(per_person.AUDIT_EXPORTS, current_actor())
    except (RateLimited, ValidationError) as error:
        return refusal(_page(render, asked, error.message), error)
    rows = audit_trail.begin(export, actor=current_actor())
    return csv_file.attachment("audit", HEADS, map(_cells, rows), zone)


def _asked_for(source: parameters.Source, chain: int | None, zone: tzinfo = UTC) -> TrailFilter:
    patient = parameters.search(source, "patient").strip()
    return TrailFilter(
        chain=chain,
        who=parameters.search(source, "who"),
        patient=patient,
        subjects=audit_trail.subjects_of(patient, chain) if patient else (),
        event=parameters.choice(source, "event", Event),
        result=parameters.choice(source, "result", Result),
        since=parameters.day(source, "since", zone),
        until=parameters.end_of_day(source, "until", zone),
    )


def _number(source: parameters.Source, name: str) -> int | None:
    return parameters.number(source, name) if source.get(name) else None


def _fields(asked: TrailFilter) -> dict[str, object]:
    """What a form or an address says that asks for the same again."""
    last = asked.until and asked.until - timedelta(days=1)
    fields = {
        "who": asked.who,
        "patient": asked.patient,
        "event": asked.event,
        "result": asked.result,
        "since": asked.since and asked.since.date(),
        "until": last and last.date(),
    }
    return {name: value for name, value in fields.items() if value}


def _cells(row: Any) -> list[str]:
    return [
        *(iso(row.at), audit_words.who(row), row.role or "", audit_words.what(row), row.result),
        *(str(row.chain or ""), row.subject or "", audit_words.details(row)),
        *(audit_words.WAYS.get(row.via, row.via), row.ip or "", row.request_id or ""),
        *(row.event, str(row.number), row.hash),
    ]
