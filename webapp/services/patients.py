"""Reading the synced patients of one clinic."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, Select, TextClause, func, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from webapp.cliniko.records import PatientState
from webapp.extensions import db
from webapp.models import Organization, Patient
from webapp.models.patient import FITS_INTO_THE_LIST, TOO_LONG_FOR_THE_LIST
from webapp.services import counts, search

# So many matches and one more are read at first: enough for the first pages, often all there are.
_FEW = 200

_SPECIAL_TO_GLOB = re.compile(r"[*?\[]")
_IN_BRACKETS = r"[\g<0>]"

# Where a patient stands in the order of the lists.
Place = Row[str, int]
Conditions = list[ColumnElement[bool] | TextClause]


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
    listed = [*conditions, *_in_the_list(organization)]
    if not criteria.picks:
        # While a sync runs the count rests and the rows do not: one more row tells of more.
        rows = _page(listed, limit + 1, offset)
        known, found = _known_count(organization, criteria), offset + len(rows)
        at_the_end = found if rows else min(known, offset)
        total = max(known, found) if len(rows) > limit else at_the_end
        return PatientPage(rows[:limit], total, limit, offset)
    # When a patient was synced stands in the table alone, which is read quickest in its own order.
    in_order = criteria.last_synced_after is None
    if in_order and _on_postgresql():
        return _page_and_total(listed, limit, offset)
    begin = _beginning(listed if in_order else conditions, in_order=in_order)
    few = len(begin) <= _FEW
    if few:
        total = len(begin)
    elif in_order:
        total = len(begin) + _count([*listed, _follows(begin[-1])])
    else:
        total = _count(conditions)
    if few or (in_order and offset + limit <= len(begin)):
        rows = _in_this_order([patient_id for _, patient_id in begin[offset : offset + limit]])
    else:
        rows = _page(listed, limit, offset)
    return PatientPage(rows, total, limit, offset)


def ids(organization: Organization, criteria: PatientFilter, *, limit: int) -> list[int]:
    """The ids of the patients that match, in the order of `find`, at most so many."""
    listed = [*_conditions(organization, criteria), *_in_the_list(organization)]
    return list(db.session.scalars(_ids(listed, limit, 0)))


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


def _beginning(conditions: Conditions, *, in_order: bool) -> Sequence[Place]:
    """All matches in order, if they are few; else so many and one more: the first, or any."""
    query = select(Patient.sort_key, Patient.id).where(*conditions).limit(_FEW + 1)
    if in_order:
        return db.session.execute(query.order_by(Patient.sort_key, Patient.id)).all()
    # By code point in Python as in the database.
    return sorted(db.session.execute(query).all())


def _page_and_total(conditions: Conditions, limit: int, offset: int) -> PatientPage:
    """Both at once, for PostgreSQL: it looks through a clinic as quickly for all matches as for the
    first ones, since it does not do so in the order of the lists."""
    # What is named and used twice is looked for once, and by itself.
    found = select(Patient.id, Patient.sort_key).where(*conditions).cte("found")
    total = select(func.count()).select_from(found).scalar_subquery().label("total")
    ids = select(found.c.id).order_by(found.c.sort_key, found.c.id).limit(limit).offset(offset)
    page = ids.subquery()
    query = select(Patient, total).join(page, page.c.id == Patient.id)
    rows = db.session.execute(query.order_by(Patient.sort_key, Patient.id)).all()
    if rows:
        return PatientPage([row.Patient for row in rows], rows[0].total, limit, offset)
    return PatientPage([], _count(conditions) if offset else 0, limit, offset)


def _page(conditions: Conditions, limit: int, offset: int) -> list[Patient]:
    ids = _ids(conditions, limit, offset).subquery()
    page = select(Patient).join(ids, ids.c.id == Patient.id)
    return list(db.session.scalars(page.order_by(Patient.sort_key, Patient.id)))


def _ids(conditions: Conditions, limit: int, offset: int) -> Select[int]:
    """Ids only, so that the rows before the page need not be read."""
    in_order = select(Patient.id).where(*conditions).order_by(Patient.sort_key, Patient.id)
    return in_order.limit(limit).offset(offset)


def _follows(place: Place) -> ColumnElement[bool]:
    """Whether a patient stands behind this place: what was looked through is not counted again."""
    return tuple_(Patient.sort_key, Patient.id) > tuple_(*place)


def _count(conditions: Conditions) -> int:
    return db.session.scalar(select(func.count()).select_from(Patient).where(*conditions)) or 0


def _known_count(organization: Organization, criteria: PatientFilter) -> int:
    known = counts.by_state(organization)
    return sum(known.values()) if criteria.state is None else known[criteria.state]


def _in_this_order(ids: Sequence[int]) -> list[Patient]:
    if not ids:
        return []
    rows = {row.id: row for row in db.session.scalars(select(Patient).where(Patient.id.in_(ids)))}
    return [rows[patient_id] for patient_id in ids if patient_id in rows]


def _conditions(organization: Organization, criteria: PatientFilter) -> Conditions:
    conditions: Conditions = [Patient.organization_id == organization.id]
    if criteria.state is not None:
        conditions.append(Patient.state == criteria.state)
    if criteria.last_synced_after is not None:
        conditions.append(Patient.last_synced > criteria.last_synced_after)
    if criteria.changed_after is not None:
        conditions.append(Patient.last_changed > criteria.changed_after)
    terms = search.terms(criteria.search)
    conditions += [_matches(term, organization.shard) for term in terms]
    return conditions


def _in_the_list(organization: Organization) -> Conditions:
    """What PostgreSQL has to be told before it reads its indexes in place of the table; nothing if
    a patient of the clinic is not in them."""
    if _on_postgresql() and not _has_long_rows(organization):
        return [FITS_INTO_THE_LIST]
    return []


def _has_long_rows(organization: Organization) -> bool:
    """Whether a patient has so long a name that those indexes do not hold them, which is next to
    never; then the table itself is searched."""
    # PostgreSQL takes every third patient for one of those. Only when it is to go by the order of
    # their own index does it look there, and not through a whole clinic for the first.
    ours = Patient.organization_id.between(organization.id, organization.id)
    long = select(Patient.id).where(ours, TOO_LONG_FOR_THE_LIST).order_by(Patient.organization_id)
    return db.session.scalar(long.limit(1)) is not None


def _matches(term: str, shard: str | None) -> ColumnElement[bool]:
    in_text = _contains(Patient.search_text, term)
    if search.is_number(term):
        forms = search.forms(term, shard)
        return or_(in_text, *(_contains(Patient.search_digits, form) for form in forms))
    return in_text


def _contains(column: InstrumentedAttribute[str], term: str) -> ColumnElement[bool]:
    """What finds a text as it stands, case and all, in the shortest time on each database."""
    if _on_postgresql():
        return func.strpos(column, term) > 0
    return column.bool_op("GLOB")(f"*{_SPECIAL_TO_GLOB.sub(_IN_BRACKETS, term)}*")


def _on_postgresql() -> bool:
    return db.engine.dialect.name == "postgresql"
