"""Reading the synced patients of one clinic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select

from webapp.cliniko.records import PatientState
from webapp.extensions import db
from webapp.models import Organization, Patient
from webapp.services import search

_ESCAPE = "\\"


@dataclass(frozen=True)
class PatientFilter:
    """Which patients are asked for. `state` None means all of them."""

    state: PatientState | None = PatientState.ACTIVE
    search: str = ""
    last_synced_after: datetime | None = None
    changed_after: datetime | None = None


@dataclass(frozen=True)
class PatientPage:
    """One page of a list: the rows, and how many match in all."""

    patients: list[Patient]
    total: int
    limit: int
    offset: int

    @property
    def has_next(self) -> bool:
        return self.offset + len(self.patients) < self.total


def find(
    organization: Organization, criteria: PatientFilter, *, limit: int, offset: int = 0
) -> PatientPage:
    """The patients of a clinic that match, by last name, first name and id.

    The order is total, so a patient stands on one page only.
    """
    conditions = _conditions(organization, criteria)
    total = db.session.scalar(select(func.count()).select_from(Patient).where(*conditions)) or 0
    rows = db.session.scalars(
        select(Patient)
        .where(*conditions)
        .order_by(Patient.sort_key, Patient.id)
        .limit(limit)
        .offset(offset)
    )
    return PatientPage(list(rows), total, limit, offset)


def get(organization: Organization, patient_id: int) -> Patient | None:
    """One patient of this clinic; None if there is none, or if the patient is another clinic's."""
    return db.session.scalar(
        select(Patient).where(Patient.organization_id == organization.id, Patient.id == patient_id)
    )


def survivor(patient: Patient) -> Patient | None:
    """The patient that a merged one became part of, if we hold it."""
    if patient.merged_into is None:
        return None
    return db.session.scalar(
        select(Patient).where(
            Patient.organization_id == patient.organization_id,
            Patient.cliniko_patient_id == patient.merged_into,
        )
    )


def count_by_state(organization: Organization) -> dict[PatientState, int]:
    """How many patients we hold in each state; every state is there."""
    counts = dict.fromkeys(PatientState, 0)
    rows = db.session.execute(
        select(Patient.state, func.count())
        .where(Patient.organization_id == organization.id)
        .group_by(Patient.state)
    )
    counts.update({PatientState(state): count for state, count in rows})
    return counts


def _conditions(organization: Organization, criteria: PatientFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Patient.organization_id == organization.id]
    if criteria.state is not None:
        conditions.append(Patient.state == criteria.state)
    if criteria.last_synced_after is not None:
        conditions.append(Patient.last_synced > criteria.last_synced_after)
    if criteria.changed_after is not None:
        conditions.append(Patient.last_changed > criteria.changed_after)
    return conditions + [_matches(term) for term in search.terms(criteria.search)]


def _matches(term: str) -> ColumnElement[bool]:
    escaped = term
    for special in (_ESCAPE, "%", "_"):
        escaped = escaped.replace(special, _ESCAPE + special)
    in_text = Patient.search_text.like(f"%{escaped}%", escape=_ESCAPE)
    if search.is_number(term):
        return or_(in_text, Patient.search_digits.like(f"%{escaped}%", escape=_ESCAPE))
    return in_text
