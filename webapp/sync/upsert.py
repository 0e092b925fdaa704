"""Storing pages of patient records: what is new, what changed, what is only seen again.

Everything here runs inside the caller's transaction, after the caller has renewed its lease there,
so no two workers store pages of the same sync at the same time. Counters rest on which sync saw a
patient last, never on a sum in memory: a page that is stored twice counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from webapp.cliniko.records import Malformed, PatientRecord, PatientState
from webapp.models import PatientSyncStatus
from webapp.sync import changes
from webapp.sync.certificate import Tally, Version
from webapp.sync.changes import Change, ChangeCounts, change_of
from webapp.sync.failures import FailedRecord, failed_before, forget_failures, note_failures
from webapp.sync.rows import (
    Known,
    known_content,
    known_rows,
    mark_failed,
    mark_seen,
    write_records,
)
from webapp.sync.target import Target


@dataclass(frozen=True)
class RecordPage:
    """A page that was read: its number in the sync, the records, and those that failed. `deleted`:
    whether it is of Cliniko's list of deleted patients."""

    number: int
    records: Sequence[PatientRecord]
    failed: Sequence[FailedRecord] = ()
    deleted: bool = False


@dataclass(frozen=True)
class Stored:
    """What storing pages has changed: to the counters of the sync, about the patients, and to what
    Cliniko has told in all. `unread_tombstones`: the keys of those that failed, of patients whom
    no list of living ones had shown."""

    success: int = 0
    failed: int = 0
    rewritten: int = 0
    told: Tally = field(default_factory=Tally)
    changes: ChangeCounts = field(default_factory=ChangeCounts)
    unread_tombstones: Set[str] = frozenset()


def record_page(
    read: Sequence[PatientRecord | Malformed], number: int, *, deleted: bool = False
) -> RecordPage:
    """A page that was read, as the so many'th of the sync."""
    records = [each for each in read if isinstance(each, PatientRecord)]
    failed = [
        FailedRecord.of(each, number, place)
        for place, each in enumerate(read, start=1)
        if isinstance(each, Malformed)
    ]
    return RecordPage(number, records, failed, deleted)


def store_pages(
    target: Target, pages: Sequence[RecordPage], *, seen_at: datetime, some_failed: bool = True
) -> Stored:
    """Store the records of some pages and note those that were refused.

    `some_failed` False: it is known that no record has failed in this sync so far. A record that
    the database refuses is noted too; the others are kept. Raises IntegrityError or DataError if it
    refuses every record, for then the fault is not the records'.
    """
    newest = _newest_of_each([record for page in pages for record in page.records])
    unread = [each for page in pages for each in page.failed]
    known = known_rows(target, [*newest, *(each.key for each in unread)])
    failed = failed_before(target.sync_log_id) if some_failed else set()

    seen_again, rewritten = [], []
    for record in newest.values():
        row = known.get(record.cliniko_patient_id)
        if row is not None and not _supersedes(record, row, target):
            seen_again.append(record.cliniko_patient_id)
        else:
            rewritten.append(record)
    held = known_content(target, _differing(rewritten, known))  # before it is written over
    refused_here = [
        replace(each, page=_page_of(each.key, pages))
        for each in write_records(target, rewritten, known, seen_at)
    ]
    mark_seen(target, seen_again, seen_at)

    refused = {each.key: each for each in (*unread, *refused_here)}
    stored = [key for key in newest if key not in refused]
    new_failed = [each for key, each in refused.items() if key not in failed]
    # An unreadable tombstone is no sign of its patient: nobody has listed them.
    tombstones = {each.key for page in pages if page.deleted for each in page.failed}
    listed = {each.key for page in pages if not page.deleted for each in page.failed}
    listed.update(each.key for each in refused_here)
    mark_failed(target, sorted(listed))
    note_failures(target.sync_log_id, new_failed, failed_at=seen_at)
    healed = [key for key in stored if key in failed]
    forget_failures(target.sync_log_id, healed)

    # Written it was, even where another copy of it, on another page, could not be read.
    unwritten = {each.key for each in refused_here}
    changed = [
        change
        for record in rewritten
        if record.cliniko_patient_id not in unwritten
        if (change := _change(record, known, held)) is not None
    ]
    changes.note(target.organization_id, target.sync_log_id, changed, at=seen_at)

    counted = {key for key, row in known.items() if row.last_sync_id == target.sync_log_id}
    uncounted = sum(key not in counted or key in failed for key in stored)
    taken_back = sum(each.key in counted for each in new_failed)
    return Stored(
        success=uncounted - taken_back,
        failed=len(new_failed) - len(healed),
        rewritten=len(rewritten) - len(refused_here),
        told=_told(
            newest,
            known,
            counted - failed,
            {each.cliniko_patient_id for each in rewritten},
            set(refused),
            target.secret,
        ),
        changes=ChangeCounts.of(changed),
        unread_tombstones=tombstones - listed - counted,
    )


def told_of(target: Target, records: Sequence[PatientRecord]) -> Tally:
    """How these records change the tally of what Cliniko has told; they are not stored."""
    newest = _newest_of_each(records)
    known = known_rows(target, list(newest))
    failed = failed_before(target.sync_log_id)
    counted = {key for key, row in known.items() if row.last_sync_id == target.sync_log_id}
    return _told(newest, known, counted - failed, set(newest), set(), target.secret)


def _told(
    newest: Mapping[str, PatientRecord],
    known: Mapping[str, Known],
    counted: Set[str],
    news: Set[str],
    refused: Set[str],
    secret: str,
) -> Tally:
    """How pages change the tally of what Cliniko has told. There each patient counts once, in the
    newest version; a `refused` one does not count. `counted`: patients in the tally already.
    `news`: patients of whom the pages say something newer."""
    tally = Tally(secret=secret)
    for key in {*newest, *refused}:
        row = known.get(key)
        before = after = None
        if row is not None and key in counted:
            before = Version.of(row.state, row.content_hash, row.merged_into)
        if key not in refused:
            after = before if before is not None and key not in news else Version.told(newest[key])
        tally.replace(key, before, after)
    return tally


def superseding(target: Target, records: Sequence[PatientRecord]) -> list[PatientRecord]:
    """Those of these records, each of a patient that we hold, that would change the row."""
    known = known_rows(target, [record.cliniko_patient_id for record in records])
    return [each for each in records if _supersedes(each, known[each.cliniko_patient_id], target)]


def _differing(records: Sequence[PatientRecord], known: Mapping[str, Known]) -> list[str]:
    """The ids of those of whom we hold other content than these records have."""
    return [
        record.cliniko_patient_id
        for record in records
        if record.state is not PatientState.DELETED
        and (row := known.get(record.cliniko_patient_id)) is not None
        and row.content_hash != record.content_hash
    ]


def _change(
    record: PatientRecord, known: Mapping[str, Known], held: Mapping[str, Known]
) -> Change | None:
    key = record.cliniko_patient_id
    return change_of(record, known.get(key), held.get(key))


def _page_of(key: str, pages: Sequence[RecordPage]) -> int:
    return next(
        page.number for page in pages for record in page.records if record.cliniko_patient_id == key
    )


def _newest_of_each(records: Sequence[PatientRecord]) -> dict[str, PatientRecord]:
    """A patient may stand on a page twice; the newest version wins, the later one among equals."""
    newest: dict[str, PatientRecord] = {}
    for record in records:
        other = newest.get(record.cliniko_patient_id)
        if other is None or not _is_older(record.updated_at, other.updated_at):
            newest[record.cliniko_patient_id] = record
    return newest


def _supersedes(record: PatientRecord, row: Known, target: Target) -> bool:
    """Whether the record says something that the row does not, and is not older than it."""
    seen_in_this_sync: bool = row.last_sync_id == target.sync_log_id
    if record.state is PatientState.DELETED:
        if row.state == PatientState.DELETED:
            return False
        # Within one sync the later of "deleted" and "changed" holds, in whatever order they come.
        return not (seen_in_this_sync and _is_older(record.deleted_at, row.cliniko_updated_at))
    if row.state == PatientState.DELETED:
        # A patient that an earlier sync took for deleted and Cliniko lists again is there.
        return not (seen_in_this_sync and not _is_older(row.deleted_at, record.updated_at))
    # Of an earlier sync's version Cliniko may think better, whatever its clock said at that time.
    if seen_in_this_sync and _is_older(record.updated_at, row.cliniko_updated_at):
        return False
    return bool(
        row.content_hash != record.content_hash
        or row.state != record.state
        or row.merged_into != record.merged_into
        or row.cliniko_updated_at != record.updated_at
        or row.sync_status != PatientSyncStatus.SUCCESS
    )


def _is_older(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one < other
