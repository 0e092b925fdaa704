"""What a sync changes about patients: found out, counted, written down in the clinic's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import bindparam, text, update

from webapp.cliniko.records import PatientRecord, PatientState
from webapp.extensions import db, on_postgresql
from webapp.models import ChangeKind, Organization
from webapp.models.types import UtcDateTime
from webapp.sync.columns import joined, taken_apart
from webapp.sync.rows import Known

_TEXTS = ("first_name", "last_name", "preferred_first_name", "email")
_KIND_OF_STATE = {
    PatientState.ACTIVE: ChangeKind.RESTORED,
    PatientState.ARCHIVED: ChangeKind.ARCHIVED,
    PatientState.MERGED: ChangeKind.MERGED,
    PatientState.DELETED: ChangeKind.DELETED,
}

_JSON = msgspec.json.Encoder()
_ROOM = 1_000_000  # positions: more than any database that takes over can lack

# All as few values, as with the patients: SQLAlchemy would take as long as all the rest of a page.
_INTO = (
    "INSERT INTO patient_changes"
    " (organization_id, position, cliniko_patient_id, sync_log_id, kind, fields, at)"
)
_COLUMNS = ", ".join(taken_apart(name) for name in (":keys", ":kinds", ":fields"))
_SQLITE = (
    f"{_INTO} SELECT"  # nosec B608  # our own words alone
    " :organization_id, :before + key + 1, json_extract(value, '$[0]'), :sync_log_id,"
    " json_extract(value, '$[1]'), json_extract(value, '$[2]'), :at FROM json_each(:changes)"
)
_POSTGRESQL = (
    f"{_INTO} SELECT"  # nosec B608  # our own words alone
    " :organization_id, :before + nth, key, :sync_log_id, kind, CAST(fields AS json), :at"
    f" FROM unnest({_COLUMNS}) WITH ORDINALITY AS told (key, kind, fields, nth)"
)
_WRITE = {
    name: text(statement).bindparams(bindparam("at", type_=UtcDateTime()))
    for name, statement in {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}.items()
}


class Change(NamedTuple):
    """What has happened to a patient, and which fields of theirs differ; never what is in them."""

    key: str
    kind: ChangeKind
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChangeCounts:
    """How many changes of each kind, and how many times each field differed."""

    kinds: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, changes: Sequence[Change]) -> ChangeCounts:
        """The counts of these changes."""
        return cls(
            Counter([str(change.kind) for change in changes]),
            Counter([field for change in changes for field in change.fields]),
        )

    def plus(self, other: ChangeCounts) -> ChangeCounts:
        """Both together."""
        return ChangeCounts(self.kinds + other.kinds, self.fields + other.fields)

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values, every kind among them."""
        return {str(kind): self.kinds[kind] for kind in ChangeKind} | {"fields": dict(self.fields)}

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> ChangeCounts:
        """The counts that `to_json` wrote; none for None."""
        if values is None:
            return cls()
        kinds = {str(kind): int(values[kind]) for kind in ChangeKind}
        return cls(Counter(kinds), Counter(values["fields"]))


def change_of(record: PatientRecord, row: Known | None, content: Known | None) -> Change | None:
    """What a record that is stored changes; None if only its time is new.

    `row` is what is known of the patient, `content` the fields that are held if they may differ.
    """
    key = record.cliniko_patient_id
    if row is None:
        gone = record.state is PatientState.DELETED
        return Change(key, ChangeKind.DELETED if gone else ChangeKind.ADDED)
    fields = () if content is None else _differing(record, content)
    if row.state == PatientState.DELETED:
        return Change(key, ChangeKind.RESTORED, fields)
    if (  # with its moments: who was restored and archived again between two syncs was archived
        row.state != record.state
        or row.merged_into != record.merged_into
        or row.archived_at != record.archived_at
        or row.merged_at != record.merged_at
    ):
        return Change(key, _KIND_OF_STATE[record.state], fields)
    return Change(key, ChangeKind.UPDATED, fields) if fields else None


def note(
    organization_id: int, sync_log_id: int, changes: Sequence[Change], *, at: datetime
) -> None:
    """Write changes down, inside the caller's transaction.

    The row of the clinic is locked from here to the end of the transaction, so their positions are
    committed in their own order: whoever has read one has missed none before it.
    """
    if not changes:
        return
    last = db.session.scalar(
        update(Organization)
        .where(Organization.id == organization_id)
        .values(changes_recorded=Organization.changes_recorded + len(changes))
        .returning(Organization.changes_recorded)
        .execution_options(synchronize_session=False)
    )
    assert last is not None
    db.session.execute(
        _WRITE[db.engine.dialect.name],
        {
            "organization_id": organization_id,
            "before": last - len(changes),
            "sync_log_id": sync_log_id,
            "at": at,
            **(_in_columns(changes) if on_postgresql() else _in_json(changes)),
        },
    )


def leave_room(organization_id: int) -> None:
    """Give the next positions to nobody, inside the caller's transaction: the database has taken
    back what was committed, and whoever follows may have read those that would be given anew."""
    db.session.execute(
        update(Organization)
        .where(Organization.id == organization_id)
        .values(changes_recorded=Organization.changes_recorded + _ROOM)
        .execution_options(synchronize_session=False)
    )


def _in_json(changes: Sequence[Change]) -> dict[str, str]:
    return {"changes": _JSON.encode(changes).decode()}


def _in_columns(changes: Sequence[Change]) -> dict[str, str]:
    return {
        "keys": joined([change.key for change in changes]),
        "kinds": joined([change.kind for change in changes]),
        "fields": joined([_JSON.encode(change.fields).decode() for change in changes]),
    }


def _differing(record: PatientRecord, content: Known) -> tuple[str, ...]:
    fields = [name for name in _TEXTS if getattr(record, name) != getattr(content, name)]
    if [(phone["type"], phone["number"]) for phone in content.phones] != list(record.phones):
        fields.append("phones")
    if record.date_of_birth != content.date_of_birth:
        fields.append("date_of_birth")
    return tuple(fields)
