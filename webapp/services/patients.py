"""Reading the synced patients of one clinic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from webapp.cliniko.records import PatientState
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import Organization, Patient
from webapp.services import counts, patient_pages
from webapp.services.patient_questions import PatientFilter as PatientFilter
from webapp.services.patient_questions import question

_ABSORBED = 10


@dataclass(frozen=True)
class PatientPage:
    """One page of a list: the rows, and how many match in all."""

    patients: list[Patient]
    total: int
    limit: int
    offset: int
    more: bool | None = None  # whether more follow, where the total does not tell

    @property
    def has_next(self) -> bool:
        if self.more is not None:
            return self.more
        return self.offset + len(self.patients) < self.total


def find(
    organization: Organization, criteria: PatientFilter, *, limit: int, offset: int = 0
) -> PatientPage:
    """The patients of a clinic that match, by last name, first name and id.

    The order is total, so a patient stands on one page only.
    """
    asked = question(organization, criteria)
    if criteria.picks:
        return PatientPage(*patient_pages.page_and_total(asked, limit, offset), limit, offset)
    # While a sync runs the count rests and the rows do not: one more row tells of more.
    rows = patient_pages.page(asked, limit + 1, offset)
    known, found = _known_count(organization, criteria), offset + len(rows)
    at_the_end = found if rows else min(known, offset)
    total = max(known, found) if len(rows) > limit else at_the_end
    return PatientPage(rows[:limit], total, limit, offset)


def after(
    organization: Organization, criteria: PatientFilter, after_id: int, *, limit: int
) -> PatientPage:
    """The patients of a clinic that match and have a greater id, by id; the total is of all.

    Ids never move: who leaves the list between two pages lets nobody slip to a page that was read.
    """
    asked = question(organization, criteria)
    rows = patient_pages.after(asked, after_id, limit + 1)
    known = patient_pages.total(asked) if criteria.picks else _known_count(organization, criteria)
    return PatientPage(rows[:limit], max(known, len(rows)), limit, 0, more=len(rows) > limit)


def ids(organization: Organization, criteria: PatientFilter, *, limit: int) -> list[int]:
    """The ids of the patients that match, in the order of `find`, at most so many."""
    return patient_pages.ids(question(organization, criteria), limit)


def get(organization: Organization, patient_id: int) -> Patient:
    """One patient of this clinic. Raises NotFound for one that is none of the clinic's."""
    patient = db.session.scalar(
        select(Patient).where(Patient.organization_id == organization.id, Patient.id == patient_id)
    )
    if patient is None:
        raise NotFound()
    return patient


def ids_of(organization: Organization, cliniko_ids: Sequence[str]) -> dict[str, int]:
    """The ids of those of a clinic's patients whom Cliniko calls so, by Cliniko's ids."""
    found = select(Patient.cliniko_patient_id, Patient.id).where(
        Patient.organization_id == organization.id, Patient.cliniko_patient_id.in_(cliniko_ids)
    )
    return dict(db.session.execute(found).all())


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


def absorbed(patient: Patient) -> PatientPage:
    """Those who were merged into a patient, by name: the first ten, and how many there are. Who
    was deleted afterwards is one of them still."""
    theirs = (
        Patient.organization_id == patient.organization_id,
        # No other has been merged; without it SQLite would read the rows of the whole clinic.
        Patient.state.in_((PatientState.MERGED, PatientState.DELETED)),
        Patient.merged_into == patient.cliniko_patient_id,
    )
    first = select(Patient).where(*theirs).order_by(Patient.sort_key, Patient.id)
    rows = list(db.session.scalars(first.limit(_ABSORBED + 1)))
    total = len(rows)
    if total > _ABSORBED:
        counted = select(func.count()).select_from(Patient).where(*theirs)
        total = max(total, db.session.scalars(counted).one())
    return PatientPage(rows[:_ABSORBED], total, _ABSORBED, 0)


def _known_count(organization: Organization, criteria: PatientFilter) -> int:
    known = counts.by_state(organization)
    return sum(known.values()) if criteria.state is None else known[criteria.state]
