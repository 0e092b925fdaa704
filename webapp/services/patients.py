"""Reading the synced patients of one clinic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from webapp.cliniko.records import PatientState
from webapp.extensions import db
from webapp.models import Organization, Patient
from webapp.services import counts, patient_pages, search
from webapp.services.patient_questions import Question, question


@dataclass(frozen=True)
class PatientFilter:
    """Which patients are asked for. `state` None means all of them."""

    state: PatientState | None = PatientState.ACTIVE
    search: str = ""
    last_synced_after: datetime | None = None
    changed_after: datetime | None = None

    @property
    def picks(self) -> bool:
        """Whether more is asked for than a state, so that there may be few matches."""
        return bool(self.search or self.last_synced_after or self.changed_after)

    @property
    def words(self) -> str:
        """All that is asked for, in one text: the same for the same question."""
        days = (self.last_synced_after, self.changed_after)
        asked = [str(self.state), sorted(search.terms(self.search)), *map(str, days)]
        return json.dumps(asked)

    def question_to(self, organization: Organization) -> Question:
        """What is asked, in places for its values, and they."""
        days = (self.last_synced_after, self.changed_after)
        return question(organization, self.state, self.search, *days)


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
    question = criteria.question_to(organization)
    if criteria.picks:
        return PatientPage(*patient_pages.page_and_total(question, limit, offset), limit, offset)
    # While a sync runs the count rests and the rows do not: one more row tells of more.
    rows = patient_pages.page(question, limit + 1, offset)
    known, found = _known_count(organization, criteria), offset + len(rows)
    at_the_end = found if rows else min(known, offset)
    total = max(known, found) if len(rows) > limit else at_the_end
    return PatientPage(rows[:limit], total, limit, offset)


def ids(organization: Organization, criteria: PatientFilter, *, limit: int) -> list[int]:
    """The ids of the patients that match, in the order of `find`, at most so many."""
    return patient_pages.ids(criteria.question_to(organization), limit)


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


def _known_count(organization: Organization, criteria: PatientFilter) -> int:
    known = counts.by_state(organization)
    return sum(known.values()) if criteria.state is None else known[criteria.state]
