"""Reading the audit trail: a page of it, or all of it for a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, func, select

from webapp.errors import ValidationError
from webapp.extensions import db, read_alone
from webapp.models import AuditEvent, Organization, Patient, SyncLog, User
from webapp.services import audit, callers
from webapp.services.audit import Result
from webapp.services.audit_events import Event
from webapp.services.callers import LetIn

MOST = 100_000  # in one file: what a request has time for
_AT_ONCE = 1_000

_LONGEST_ID = 16  # digits


@dataclass(frozen=True)
class TrailFilter:
    """Which events are asked for. `chain` is a clinic's id, 0 what belongs to none, None all."""

    chain: int | None = None
    who: str = ""  # a part of the address of whoever did it
    patient: str = ""  # as somebody calls them: what was done to them, who looked at them alone
    subjects: Sequence[str] = ()  # as the trail calls that patient, see `subjects_of`
    event: Event | None = None
    result: Result | None = None
    since: datetime | None = None
    until: datetime | None = None  # and no longer

    @property
    def names(self) -> list[str]:
        """What narrows it, apart from the clinic."""
        every = ("who", "patient", "event", "result", "since", "until")
        return [name for name in every if getattr(self, name)]


@dataclass(frozen=True)
class TrailPage:
    """Some events, the newest first; the next older ones are `before` this place, if any."""

    events: list[AuditEvent]
    before: int | None


@dataclass(frozen=True)
class Export:
    """The events of one file: those that match and stand before this place."""

    criteria: TrailFilter
    before: int


def subjects_of(patient: str, chain: int | None) -> list[str]:
    """How the trail of a clinic, or of all, calls the patient with this id of Cliniko's. If no
    patient has this id, as after somebody was forgotten, the number is taken for the trail's own.
    """
    clinics = select(Organization.id) if chain is None else [chain]
    known = select(Patient.id).where(Patient.organization_id.in_(clinics))
    ids = db.session.scalars(known.where(Patient.cliniko_patient_id == patient)).all()
    if not ids and patient.isascii() and patient.isdigit() and len(patient) <= _LONGEST_ID:
        somebody_else = db.session.scalar(known.where(Patient.id == int(patient)))
        ids = [] if somebody_else else [int(patient)]
    return [f"patient {each}" for each in ids]


def find(criteria: TrailFilter, *, limit: int, before: int | None = None) -> TrailPage:
    """The newest events that match, of those before a place that an earlier page told. What is
    recorded meanwhile moves nothing from one page to the next."""
    rows = db.session.scalars(_asked(select(AuditEvent), criteria, before).limit(limit + 1)).all()
    events = list(rows[:limit])
    return TrailPage(events, _place(criteria, events[-1]) if len(rows) > limit else None)


def still_there(events: Sequence[AuditEvent]) -> set[tuple[int, str]]:
    """The patients and syncs that these events are about and that have a page: of which clinic, and
    how the trail calls them."""
    ids: dict[str, list[int]] = {"patient": [], "sync": []}
    for event in events:
        kind, _, number = (event.subject or "").partition(" ")
        if kind in ids and number.isdigit():
            ids[kind].append(int(number))
    clinics = {event.chain for event in events}
    patients = select(Patient.organization_id, Patient.id).where(
        Patient.organization_id.in_(clinics), Patient.id.in_(ids["patient"])
    )
    syncs = select(SyncLog.organization_id, SyncLog.id).where(
        SyncLog.organization_id.in_(clinics), SyncLog.id.in_(ids["sync"])
    )
    return {
        (clinic, f"{kind} {number}")
        for kind, query in (("patient", patients), ("sync", syncs))
        for clinic, number in db.session.execute(query)
    }


def choose(criteria: TrailFilter) -> Export:
    """All events that match. Raises ValidationError if they are more than MOST."""
    newest = find(criteria, limit=1).events
    before = _place(criteria, newest[0]) + 1 if newest else 0
    some = _asked(select(AuditEvent.id), criteria, before).limit(MOST + 1)
    if (db.session.scalar(select(func.count()).select_from(some.subquery())) or 0) > MOST:
        raise ValidationError(
            f"These are more than {MOST:,} events, and so many are the most that fit into one "
            "file. Choose fewer days.",
            parameter="since",
        )
    return Export(criteria, before)


def begin(export: Export, *, actor: User) -> Iterator[Any]:
    """Record that somebody exports these events; returns them, newest first, to be read while they
    are sent. The record goes into the chain that was asked for, also of a deleted clinic, but not
    of one that never was. Raises what `audit.note` does; what is returned raises, before each few,
    what `LetIn.refuse_if_changed` does."""
    there = select(Organization.id).where(Organization.id == export.criteria.chain)
    audit.note(
        Event.AUDIT_EXPORTED,
        actor=actor,
        organization_id=db.session.scalar(there),
        filters=export.criteria.names,
    )
    return _rows(export.criteria, export.before, db.engine, callers.current.get().let_in)


def _rows(
    criteria: TrailFilter, before: int, engine: Engine, let_in: LetIn | None
) -> Iterator[Any]:
    while True:
        query = _asked(select(AuditEvent.__table__), criteria, before).limit(_AT_ONCE)
        with read_alone(engine) as connection:
            if let_in is not None:
                let_in.refuse_if_changed(connection)
            rows = connection.execute(query).all()
        yield from rows
        if len(rows) < _AT_ONCE:
            return
        before = _place(criteria, rows[-1])


def _asked(query: Select[Any], criteria: TrailFilter, before: int | None) -> Select[Any]:
    place = AuditEvent.id if criteria.chain is None else AuditEvent.number
    conditions: list[ColumnElement[bool]] = []
    if before is not None:
        conditions.append(place < before)
    if criteria.chain is not None:
        conditions.append(AuditEvent.chain == criteria.chain)
    if criteria.who:
        conditions.append(AuditEvent.actor.contains(criteria.who.lower(), autoescape=True))
    if criteria.patient:
        conditions.append(AuditEvent.subject.in_(criteria.subjects))
    if criteria.event is not None:
        conditions.append(AuditEvent.event == str(criteria.event))
    if criteria.result is not None:
        conditions.append(AuditEvent.result == str(criteria.result))
    if criteria.since is not None:
        conditions.append(AuditEvent.at >= criteria.since)
    if criteria.until is not None:
        conditions.append(AuditEvent.at < criteria.until)
    return query.where(*conditions).order_by(place.desc())


def _place(criteria: TrailFilter, event: Any) -> int:
    """Where an event stands: of one chain by its number there, for which there is an index."""
    place: int = event.id if criteria.chain is None else event.number
    return place
