"""Patients for a file of somebody's own: who is in it is decided and recorded at once, and read
while it is sent, so that only a few are in memory and no connection waits for a slow network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from webapp.errors import OrganizationNotFound, ValidationError
from webapp.extensions import db, read_alone
from webapp.models import NOT_DELETED, Organization, Patient, User
from webapp.services import audit, callers, patients
from webapp.services.audit_events import Event
from webapp.services.callers import LetIn
from webapp.services.patients import PatientFilter

MOST = 50_000
_AT_ONCE = 500

_ROWS = select(
    *(Patient.id, Patient.cliniko_patient_id, Patient.first_name, Patient.last_name),
    *(Patient.preferred_first_name, Patient.date_of_birth, Patient.email, Patient.phone),
    *(Patient.phones, Patient.state, Patient.cliniko_created_at, Patient.cliniko_updated_at),
    *(Patient.archived_at, Patient.merged_at, Patient.merged_into, Patient.deleted_at),
    Patient.last_synced,
)
_THERE = select(Organization.id).where(NOT_DELETED)


@dataclass(frozen=True)
class Export:
    """The patients of one file, in the order of the lists."""

    organization_id: int
    ids: list[int]
    filter: str  # the fingerprint of what was asked for
    engine: Engine  # the request has ended when the rows are read
    let_in: LetIn | None

    def rows(self) -> Iterator[Any]:
        """What is stored of each, a few hundred at a time; whoever is gone by then is left out.

        Before each few hundred, raises what `LetIn.refuse_if_changed` does, or OrganizationNotFound
        if the clinic was deleted: the file breaks off then, and does not look whole.
        """
        for first in range(0, len(self.ids), _AT_ONCE):
            ids = self.ids[first : first + _AT_ONCE]
            theirs = (Patient.organization_id == self.organization_id, Patient.id.in_(ids))
            with read_alone(self.engine) as connection:
                if self.let_in is not None:
                    self.let_in.refuse_if_changed(connection)
                if connection.scalar(_THERE.where(Organization.id == self.organization_id)) is None:
                    raise OrganizationNotFound(organization_id=self.organization_id)
                found = {row.id: row for row in connection.execute(_ROWS.where(*theirs))}
            yield from (found[each] for each in ids if each in found)


def choose(organization: Organization, criteria: PatientFilter) -> Export:
    """All patients of a clinic that match. Raises ValidationError if they are more than MOST."""
    ids = patients.ids(organization, criteria, limit=MOST + 1)
    if len(ids) > MOST:
        raise ValidationError(
            f"These are more than {MOST:,} patients, and so many are the most that fit into one "
            "file. Choose a state, a later day or a word to search for.",
            parameter="search",
        )
    let_in = callers.current.get().let_in
    return Export(organization.id, ids, audit.fingerprint(criteria.words), db.engine, let_in)


def begin(export: Export, *, actor: User) -> None:
    """Record that somebody gets these patients, before the first byte is sent. Raises what
    `audit.note` does."""
    audit.note(
        Event.PATIENTS_EXPORTED,
        actor=actor,
        organization_id=export.organization_id,
        count=len(export.ids),
        filter=export.filter,
    )
