"""What we hold beside what Cliniko holds, in one form."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import select

from simulator.account import ClinikoAccount
from webapp.extensions import db
from webapp.models import Organization, Patient

_KEPT = (
    Patient.cliniko_patient_id,
    Patient.state,
    Patient.first_name,
    Patient.last_name,
    Patient.preferred_first_name,
    Patient.email,
    Patient.phones,
    Patient.date_of_birth,
    Patient.merged_into,
)


class Copy(NamedTuple):
    """One patient: the state, and every field that we keep, as text."""

    state: str
    first_name: str
    last_name: str
    preferred_first_name: str
    email: str
    phones: tuple[tuple[str, str], ...]
    date_of_birth: str
    merged_into: str


def copy_of(organization: Organization) -> dict[str, Copy]:
    """Our patients of a clinic, by Cliniko's id."""
    db.session.expire_all()
    theirs = Patient.organization_id == organization.id
    rows = db.session.execute(select(*_KEPT).where(theirs)).all()  # no objects, it is done so often
    return {
        row.cliniko_patient_id: Copy(
            row.state,
            row.first_name,
            row.last_name,
            row.preferred_first_name,
            row.email,
            tuple((phone["type"], phone["number"]) for phone in row.phones),
            row.date_of_birth.isoformat() if row.date_of_birth else "",
            row.merged_into or "",
        )
        for row in rows
    }


def truth_of(account: ClinikoAccount) -> dict[str, Copy]:
    """The patients of an account at Cliniko, by id. Of a deleted one Cliniko tells nothing else."""
    return {str(each.id): _of(str(each.state), each.json) for each in account.patients()}


@lru_cache(maxsize=20_000)
def _of(state: str, written: bytes) -> Copy:
    """Most patients are the same in thousands of comparisons, so each version is read once."""
    if state == "deleted":
        return Copy(state, "", "", "", "", (), "", "")
    record: dict[str, Any] = json.loads(written)
    survivor = record.get("merged_with_patient") or {}
    return Copy(
        state,
        record["first_name"] or "",
        record["last_name"] or "",
        record["preferred_first_name"] or "",
        record["email"] or "",
        tuple(
            (phone["phone_type"] or "", phone["number"] or "")
            for phone in record["patient_phone_numbers"] or []
        ),
        record["date_of_birth"] or "",
        survivor.get("links", {}).get("self", "").rpartition("/")[2],
    )
