"""What may be asked about the patients of a clinic, as conditions with places for their values.

Questions of one kind differ in their values alone, so that each kind is put into words once: for a
short question that takes the application longer than its answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Text, TextClause, and_, bindparam, func, or_
from sqlalchemy.orm import InstrumentedAttribute

from webapp.cliniko.records import PatientState
from webapp.extensions import on_postgresql
from webapp.models import Organization, Patient
from webapp.services import phone_numbers, search

Conditions = list[ColumnElement[bool] | TextClause]
Values = dict[str, Any]

_SPECIAL_TO_GLOB = re.compile(r"[*?\[]")
_IN_BRACKETS = r"[\g<0>]"


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
        moments = (self.last_synced_after, self.changed_after)
        since = [str(each and each.astimezone(UTC)) for each in moments]
        asked = [str(self.state), sorted(search.terms(self.search)), *since]
        return json.dumps(asked)


class Sought(NamedTuple):
    """A term of a search without its texts."""

    forms: int  # in how many it is looked for, as a phone number
    ways: tuple[tuple[Sought, ...], ...]


class Kind(NamedTuple):
    """What is asked for, without its values."""

    on_postgresql: bool
    state: bool
    terms: tuple[Sought, ...]
    last_synced_after: bool
    changed_after: bool

    @property
    def is_indexed(self) -> bool:
        """Whether the indexes hold all that is asked about; when a patient was synced stands in the
        table alone."""
        return not self.last_synced_after


class Question(NamedTuple):
    """A question, and the clinic and the values that it is asked with."""

    kind: Kind
    values: Values


def question(organization: Organization, criteria: PatientFilter) -> Question:
    """Turn a filter into a question: its kind, and the values to ask it with."""
    shard, terms = organization.shard, search.terms(criteria.search)
    postgres = on_postgresql()
    kind = Kind(
        postgres,
        criteria.state is not None,
        tuple(_sought(term, shard) for term in terms),
        criteria.last_synced_after is not None,
        criteria.changed_after is not None,
    )
    values: Values = {
        "organization_id": organization.id,
        "state": criteria.state,
        "last_synced_after": criteria.last_synced_after,
        "changed_after": criteria.changed_after,
    }
    for place, term in enumerate(terms):
        for name, text in _texts(term, shard, f"term_{place}"):
            values[name] = text if postgres else _glob(text)
    return Question(kind, {name: value for name, value in values.items() if value is not None})


def scope(kind: Kind) -> Conditions:
    """The conditions for the clinic and the state."""
    ours: Conditions = [Patient.organization_id == bindparam("organization_id")]
    return [*ours, Patient.state == bindparam("state")] if kind.state else ours


def asked(kind: Kind) -> Conditions:
    """The conditions for everything else."""
    conditions: Conditions = [
        _matches(kind, sought, f"term_{place}") for place, sought in enumerate(kind.terms)
    ]
    if kind.last_synced_after:
        conditions.append(Patient.last_synced > bindparam("last_synced_after"))
    if kind.changed_after:
        conditions.append(Patient.last_changed > bindparam("changed_after"))
    return conditions


def _numbers(term: search.Term, shard: str | None) -> list[str]:
    return phone_numbers.forms(term.text, shard) if term.ways else []


def _sought(term: search.Term, shard: str | None) -> Sought:
    ways = tuple(tuple(_sought(each, shard) for each in way) for way in term.ways)
    return Sought(len(_numbers(term, shard)), ways)


def _texts(term: search.Term, shard: str | None, name: str) -> Iterator[tuple[str, str]]:
    """The texts of a term, each by the name that `_matches` gives its place."""
    for form, text in enumerate(_numbers(term, shard) or [term.text]):
        yield f"{name}_{form}", text
    for way, terms in enumerate(term.ways):
        for place, each in enumerate(terms):
            yield from _texts(each, shard, f"{name}_way_{way}_{place}")


def _matches(kind: Kind, sought: Sought, name: str) -> ColumnElement[bool]:
    if not sought.ways:
        return _contains(kind, Patient.search_text, f"{name}_0")
    found = []
    for way, terms in enumerate(sought.ways):
        named = ((each, f"{name}_way_{way}_{place}") for place, each in enumerate(terms))
        found.append(and_(*(_matches(kind, each, inner) for each, inner in named)))
    numbers = (f"{name}_{form}" for form in range(sought.forms))
    return or_(*found, *(_contains(kind, Patient.search_digits, each) for each in numbers))


def _contains(kind: Kind, column: InstrumentedAttribute[str], name: str) -> ColumnElement[bool]:
    """What finds a text as it stands, case and all, in the shortest time on each database."""
    if kind.on_postgresql:
        return func.strpos(column, bindparam(name, type_=Text())) > 0
    return column.bool_op("GLOB")(bindparam(name, type_=Text()))


def _glob(text: str) -> str:
    return f"*{_SPECIAL_TO_GLOB.sub(_IN_BRACKETS, text)}*"
