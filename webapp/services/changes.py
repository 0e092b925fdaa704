"""Reading what was changed about the patients of a clinic, and when it is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import aliased

from webapp.errors import CursorExpired
from webapp.extensions import db, transaction
from webapp.models import ChangeKind, Organization, Patient, PatientChange, SyncLog

KEPT = timedelta(days=400)
_AT_ONCE = 10_000  # rows that one transaction deletes at most

_SAME_PATIENT = (Patient.organization_id == PatientChange.organization_id) & (
    Patient.cliniko_patient_id == PatientChange.cliniko_patient_id
)

# Of each clinic, found by the key: few rows are looked at, however many changes are kept.
_oldest_at = (
    select(PatientChange.at)
    .where(PatientChange.organization_id == Organization.id)
    .order_by(PatientChange.position)
    .limit(1)
    .scalar_subquery()
)


@dataclass(frozen=True)
class Feed:
    """Some changes in their order, each with the id of our patient if we hold one, the cursor to
    go on from, and whether there are more already."""

    rows: Sequence[tuple[PatientChange, int | None]]
    next_cursor: int
    has_more: bool


@dataclass(frozen=True)
class ChangePage:
    """Some changes, each with the patient if we hold one, and how many match in all."""

    rows: Sequence[tuple[PatientChange, Patient | None]]
    total: int


def feed(organization: Organization, *, cursor: int | None, limit: int) -> Feed:
    """The changes of a clinic that follow a cursor, the oldest first; without one, from the first
    that is kept.

    None is left out: positions are committed in their own order. Raises CursorExpired where
    changes behind the cursor are gone, or where the clinic has not come as far as the cursor.
    """
    query = (
        select(PatientChange, Patient.id)
        .outerjoin(Patient, _SAME_PATIENT)
        .where(
            PatientChange.organization_id == organization.id,
            PatientChange.position > (cursor or 0),
        )
        .order_by(PatientChange.position)
        .limit(limit + 1)
    )
    rows = [(change, patient_id) for change, patient_id in db.session.execute(query)]
    # Asked afterwards: what was deleted before the changes were read is told of now.
    recorded, dropped = db.session.execute(
        select(Organization.changes_recorded, Organization.changes_dropped).where(
            Organization.id == organization.id
        )
    ).one()
    if cursor is None:
        cursor = dropped
    elif not dropped <= cursor <= recorded:
        raise CursorExpired(organization_id=organization.id, parameter="cursor")
    shown = rows[:limit]
    return Feed(shown, shown[-1][0].position if shown else cursor, len(rows) > limit)


def of_sync(sync_log: SyncLog, *, kind: ChangeKind | None, limit: int, offset: int) -> ChangePage:
    """What a sync has changed, in the order of the feed; all, or the changes of one kind."""
    # By the clinic too, in whose order they are kept: else all of a sync are sorted for one page.
    query = select(PatientChange).where(
        PatientChange.organization_id == sync_log.organization_id,
        PatientChange.sync_log_id == sync_log.id,
    )
    if kind is not None:
        query = query.where(PatientChange.kind == kind)
    return _page(query.order_by(PatientChange.position), limit, offset)


def of_patient(patient: Patient, *, limit: int, offset: int = 0) -> ChangePage:
    """What was changed about a patient, the newest first."""
    query = select(PatientChange).where(
        PatientChange.organization_id == patient.organization_id,
        PatientChange.cliniko_patient_id == patient.cliniko_patient_id,
    )
    return _page(query.order_by(PatientChange.position.desc()), limit, offset)


def delete_old(before: datetime) -> int:
    """Delete some of the changes from before a moment, of one clinic, in one transaction that also
    moves the first cursor that is good; says how many, 0 when no clinic has any."""
    some = select(Organization.id).where(_oldest_at < before).order_by(Organization.id).limit(1)
    organization_id = db.session.scalar(some)
    if organization_id is None:
        return 0
    return _drop(organization_id, _last_before(organization_id, before))


def delete_of_deleted() -> int:
    """Delete some of the changes of one clinic that was deleted, in one transaction; says how many,
    0 when none is left."""
    deleted = Organization.deleted_at.is_not(None)
    some = select(Organization.id).where(deleted, _oldest_at.is_not(None)).limit(1)
    organization_id = db.session.scalar(some)
    if organization_id is None:
        return 0
    theirs = PatientChange.organization_id == organization_id
    newest = db.session.scalar(select(func.max(PatientChange.position)).where(theirs))
    return _drop(organization_id, newest or 0)


def forget_patient(organization_id: int, cliniko_patient_id: str) -> None:
    """Delete what was ever changed about a patient; inside the caller's transaction."""
    db.session.execute(
        delete(PatientChange)
        .where(
            PatientChange.organization_id == organization_id,
            PatientChange.cliniko_patient_id == cliniko_patient_id,
        )
        .execution_options(synchronize_session=False)
    )


def forget_all_but_deletion(organization_id: int, cliniko_patient_ids: Sequence[str]) -> None:
    """Delete what was ever changed about these patients but their last deletion, which whoever
    follows the feed may not have read yet; inside the caller's transaction."""
    other = aliased(PatientChange)
    deletion = select(func.max(other.position)).where(
        other.organization_id == PatientChange.organization_id,
        other.cliniko_patient_id == PatientChange.cliniko_patient_id,
        other.kind == ChangeKind.DELETED,
    )
    db.session.execute(
        delete(PatientChange)
        .where(
            PatientChange.organization_id == organization_id,
            PatientChange.cliniko_patient_id.in_(cliniko_patient_ids),
            PatientChange.position != func.coalesce(deletion.scalar_subquery(), 0),
        )
        .execution_options(synchronize_session=False)
    )


def _page(query: Select[PatientChange], limit: int, offset: int) -> ChangePage:
    counted = query.order_by(None).with_only_columns(func.count(PatientChange.position))
    total = db.session.scalar(counted) or 0
    rows = db.session.scalars(query.limit(limit).offset(offset)).all()
    held = _patients(rows)
    return ChangePage([(row, held.get(row.cliniko_patient_id)) for row in rows], total)


def _patients(changes: Sequence[PatientChange]) -> dict[str, Patient]:
    """The patients of these changes, all of one clinic, by Cliniko's id. Asked for afterwards: in
    one question PostgreSQL would join all changes before it takes a page of them."""
    if not changes:
        return {}
    rows = db.session.scalars(
        select(Patient).where(
            Patient.organization_id == changes[0].organization_id,
            Patient.cliniko_patient_id.in_({each.cliniko_patient_id for each in changes}),
        )
    )
    return {row.cliniko_patient_id: row for row in rows}


def _last_before(organization_id: int, before: datetime) -> int:
    """The position of the newest change that is to go: the one before the first that is kept."""
    ours = PatientChange.organization_id == organization_id
    kept = db.session.scalar(
        select(PatientChange.position)
        .where(ours, PatientChange.at >= before)
        .order_by(PatientChange.position)
        .limit(1)
    )
    if kept is not None:
        return kept - 1
    return db.session.scalar(select(func.max(PatientChange.position)).where(ours)) or 0


def _drop(organization_id: int, last: int) -> int:
    """Delete the oldest changes of a clinic up to a position, not too many; says how many."""
    oldest = PatientChange.organization_id == organization_id, PatientChange.position <= last
    with transaction() as session:
        some = select(PatientChange.position).where(*oldest).order_by(PatientChange.position)
        positions = list(session.scalars(some.limit(_AT_ONCE)))
        if not positions:
            return 0
        session.execute(
            update(Organization)
            .where(Organization.id == organization_id)
            .values(changes_dropped=positions[-1])
            .execution_options(synchronize_session=False)
        )
        session.execute(
            delete(PatientChange)
            .where(*oldest, PatientChange.position <= positions[-1])
            .execution_options(synchronize_session=False)
        )
    return len(positions)
