"""One page of the patients who are asked for, and how many there are, as quickly as each database
can tell.

A search looks through the texts of a whole clinic. SQLite does so in the order of the lists and may
stop early; PostgreSQL in the order of storing, which spares it looking up pages of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    func,
    select,
    true,
    tuple_,
    union_all,
)

from webapp.cliniko.records import PatientState
from webapp.extensions import db
from webapp.models import Patient
from webapp.models.patient import FITS_INTO_THE_LIST, TOO_LONG_FOR_THE_LIST
from webapp.models.types import BigId
from webapp.services.patient_questions import Conditions, Kind, Question, Values, asked, scope

Found = tuple[list[Patient], int]

# So many matches and one more are read at first: enough for the first pages, often all there are.
_FEW = 200

# PostgreSQL is asked how many of so many match. If every third does, a page that is not too long is
# soon found from the front of the list, and the others need only be counted.
_GLANCE = 200
_FRONT = 100
_FRONT_AND_MORE = 4  # times as many are looked at there

# Each kind of question is put into words once; a few are in use.
_in_words = lru_cache(maxsize=128)

_IN_ORDER = (Patient.sort_key, Patient.id)
_LIMIT, _OFFSET = bindparam("limit", type_=Integer()), bindparam("offset", type_=Integer())


def page_and_total(question: Question, limit: int, offset: int) -> Found:
    """The patients of a page, in the order of the lists, and how many match in all."""
    find = _on_postgresql if question.kind.on_postgresql else _on_sqlite
    return find(question, limit, offset)


def page(question: Question, limit: int, offset: int) -> list[Patient]:
    """The patients of a page, in the order of the lists."""
    statement = _page(question.kind, _all_are_in_the_indexes(question))
    return list(db.session.scalars(statement, _of_page(question, limit, offset)))


def after(question: Question, after_id: int, limit: int) -> list[Patient]:
    """The patients whose ids are greater, in the order of the ids."""
    statement = _after(question.kind, _all_are_in_the_indexes(question))
    values = question.values | {"after_id": after_id, "limit": limit}
    return list(db.session.scalars(statement, values))


def total(question: Question) -> int:
    """How many match."""
    in_index = question.kind.is_indexed and _all_are_in_the_indexes(question)
    return _count(question, in_index=in_index)


def ids(question: Question, limit: int) -> list[int]:
    """The ids of those who match, in the order of the lists, at most so many."""
    statement = _ids(question.kind, _all_are_in_the_indexes(question))
    return list(db.session.scalars(statement, _of_page(question, limit, 0)))


def _on_sqlite(question: Question, limit: int, offset: int) -> Found:
    kind, values = question
    # What its index does not hold is read in the table's own order, which is quickest.
    begin: Sequence[Row[str, int]] = db.session.execute(_beginning(kind), values).all()
    if not kind.is_indexed:
        begin = sorted(begin)  # by code point in Python as in the database
    few = len(begin) <= _FEW
    if few:
        total = len(begin)
    elif kind.is_indexed:
        after_key, after_id = begin[-1]
        behind = values | {"after_key": after_key, "after_id": after_id}
        total = len(begin) + db.session.scalars(_rest(kind), behind).one()
    else:
        total = _count(question, in_index=False)
    if few or (kind.is_indexed and offset + limit <= len(begin)):
        these = [patient_id for _, patient_id in begin[offset : offset + limit]]
        return _in_this_order(these), total
    return page(question, limit, offset), total


def _on_postgresql(question: Question, limit: int, offset: int) -> Found:
    kind, values = question
    long_row, matches = db.session.execute(_glance(kind), values).one()
    in_index = kind.is_indexed and long_row is None
    if long_row is None and matches * 3 >= _GLANCE and offset + limit <= _FRONT:
        looked_at = {"looked_at": _FRONT_AND_MORE * (offset + limit)}
        front = _of_page(question, limit, offset) | looked_at
        rows = list(db.session.scalars(_from_the_front(kind), front))
        if len(rows) == limit:
            # Some may have gone meanwhile.
            return rows, max(_count(question, in_index=in_index), offset + limit)
    these = _of_page(question, limit, offset)
    found = db.session.execute(_page_beside_total(kind, in_index), these).all()
    if found:
        return [row.Patient for row in found], found[0].total
    return [], _count(question, in_index=in_index) if offset else 0


def _count(question: Question, *, in_index: bool) -> int:
    total: int = db.session.scalars(_total(question.kind, in_index), question.values).one()
    return total


def _in_this_order(ids: Sequence[int]) -> list[Patient]:
    if not ids:
        return []
    rows = {row.id: row for row in db.session.scalars(select(Patient).where(Patient.id.in_(ids)))}
    return [rows[patient_id] for patient_id in ids if patient_id in rows]


def _all_are_in_the_indexes(question: Question) -> bool:
    """Whether PostgreSQL can be told to read its indexes in place of the table: no patient of the
    clinic has so long a name that they do not hold it, which is next to never."""
    if not question.kind.on_postgresql:
        return False
    return db.session.scalar(_LONG_ROW, question.values) is None


def _of_page(question: Question, limit: int, offset: int) -> Values:
    return question.values | {"limit": limit, "offset": offset}


# PostgreSQL takes every third patient for an overlong one. Only when it is to go by the order of
# their own index does it look there, and not through a whole clinic for the first.
_LONG_ROW = (
    select(Patient.id)
    .where(
        Patient.organization_id.between(bindparam("organization_id"), bindparam("organization_id"))
    )
    .where(TOO_LONG_FOR_THE_LIST)
    .order_by(Patient.organization_id)
    .limit(1)
)


def _matching(kind: Kind, in_index: bool) -> Conditions:
    in_indexes: Conditions = [FITS_INTO_THE_LIST] if in_index else []
    return [*scope(kind), *asked(kind), *in_indexes]


@_in_words
def _page(kind: Kind, in_index: bool) -> Select[Any]:
    these = _ids(kind, in_index).subquery()
    return select(Patient).join(these, these.c.id == Patient.id).order_by(*_IN_ORDER)


@_in_words
def _ids(kind: Kind, in_index: bool) -> Select[Any]:
    """Ids only, so that the rows before the page need not be read."""
    in_order = select(Patient.id).where(*_matching(kind, in_index)).order_by(*_IN_ORDER)
    return in_order.limit(_LIMIT).offset(_OFFSET)


@_in_words
def _after(kind: Kind, in_index: bool) -> Select[Any]:
    """By the index of searches, which has the ids of each state in order; without it by looking
    through the clinic. In the order of the primary key all other clinics would be read."""
    by_state = [[]] if kind.state else [[Patient.state == state] for state in PatientState]
    parts, place = (by_state, Patient.id) if in_index else ([[]], Patient.id + 0)
    further = [*_matching(kind, in_index), place > bindparam("after_id", type_=BigId)]
    found = [
        select(Patient.id).where(*further, *part).order_by(place).limit(_LIMIT).subquery()
        for part in parts
    ]
    together = union_all(*(select(each.c.id) for each in found)).subquery()
    these = select(together.c.id).order_by(together.c.id).limit(_LIMIT).subquery()
    return select(Patient).join(these, these.c.id == Patient.id).order_by(Patient.id)


@_in_words
def _total(kind: Kind, in_index: bool) -> Select[Any]:
    return select(func.count()).select_from(Patient).where(*_matching(kind, in_index))


@_in_words
def _beginning(kind: Kind) -> Select[str, int]:
    """All matches in order, if they are few; else so many and one more: the first, or any."""
    order = _IN_ORDER if kind.is_indexed else ()
    query = select(*_IN_ORDER).where(*_matching(kind, in_index=False))
    return query.order_by(*order).limit(_FEW + 1)


@_in_words
def _rest(kind: Kind) -> Select[Any]:
    """How many stand behind a place: what was looked through is not counted again."""
    place = tuple_(bindparam("after_key"), bindparam("after_id"))
    return _total(kind, False).where(tuple_(*_IN_ORDER) > place)


@_in_words
def _glance(kind: Kind) -> Select[Any]:
    """A patient whom the indexes do not hold, if there is one; and how many match of those who were
    stored first."""
    first = select(and_(true(), *asked(kind)).label("matches"))
    some = first.where(*scope(kind), FITS_INTO_THE_LIST).limit(_GLANCE).subquery()
    matches = select(func.count()).select_from(some).where(some.c.matches)
    return select(_LONG_ROW.scalar_subquery(), matches.scalar_subquery())


@_in_words
def _from_the_front(kind: Kind) -> Select[Any]:
    """As many of the page as are found soon from the front of the list."""
    in_order = select(*_IN_ORDER).where(*scope(kind), FITS_INTO_THE_LIST).order_by(*_IN_ORDER)
    front = in_order.limit(bindparam("looked_at", type_=Integer())).subquery()
    rows = select(Patient).join(front, front.c.id == Patient.id).where(*asked(kind))
    return rows.order_by(front.c.sort_key, front.c.id).limit(_LIMIT).offset(_OFFSET)


@_in_words
def _page_beside_total(kind: Kind, in_index: bool) -> Select[Any]:
    """Both at once: PostgreSQL looks through a clinic as quickly for all matches as for the first
    ones, since it does not do so in the order of the lists."""
    # What is named and used twice is looked for once, and by itself.
    found = select(*_IN_ORDER).where(*_matching(kind, in_index)).cte("found")
    total = select(func.count()).select_from(found).scalar_subquery().label("total")
    in_order = select(found.c.id).order_by(found.c.sort_key, found.c.id)
    these = in_order.limit(_LIMIT).offset(_OFFSET).subquery()
    rows = select(Patient, total).join(these, these.c.id == Patient.id)
    return rows.order_by(*_IN_ORDER)
