"""Writing down what a sync has read: patients, counters, checkpoint, lease in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from math import ceil
from typing import TypeVar, Unpack

from sqlalchemy.exc import DBAPIError

from webapp.cliniko.client import Account
from webapp.cliniko.listing import PER_PAGE
from webapp.cliniko.records import PatientRecord
from webapp.cliniko.throttle import Waiting
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, SyncLog, SyncMetadata, SyncPhase
from webapp.services.budget import SharedBudget
from webapp.services.connection import note_acceptance
from webapp.sync import ending, forgotten, held_rows, lease, watermark
from webapp.sync.changes import ChangeCounts
from webapp.sync.database_trouble import patiently
from webapp.sync.estimate import Estimate
from webapp.sync.progress import Progress, percent
from webapp.sync.removals import Outcome
from webapp.sync.shown import Shown
from webapp.sync.target import Target
from webapp.sync.time_limit import TimeLimit
from webapp.sync.upsert import RecordPage, Stored, store_pages, told_of

_BEAT_SECONDS = 2.0

T = TypeVar("T")


class Recorder:
    """The one who writes for an attempt at a sync. Every write checks the lease and renews it."""

    def __init__(
        self,
        sync_log: SyncLog,
        organization: Organization,
        budget: SharedBudget,
        requests_made: Callable[[], int],
        waited: float,  # seconds since the last worker has handed it over
    ) -> None:
        self.target = Target.of(organization, sync_log)
        self._forgotten = forgotten.of(organization)
        self.checkpoint = (sync_log.checkpoint or {}) | {"secret": self.target.secret}
        self._attempt = sync_log.attempt
        self.key = organization.encrypted_api_key
        self._started_at = min(sync_log.started_at, now())  # by a clock that may be ahead of ours
        self._budget = budget
        self._requests_made = requests_made
        self._requests_before = sync_log.progress.get("requests_made", 0)
        self.progress = Progress.so_far(sync_log)
        begun = SyncPhase.CONNECTING in self.progress.entered_after  # else it counts from the start
        waited = self.checkpoint.get("waited", 0.0) + (waited if begun else 0.0)
        self.checkpoint["waited"] = waited
        self.time_limit = TimeLimit(self._started_at, waited, budget)
        self._shown = Shown.from_json(self.checkpoint)
        self._estimate = Estimate(sync_log.records_processed)
        self._writes: int = self.checkpoint.get("writes", 0)  # that the database has confirmed
        self._written_at = 0.0

    def enter(self, phase: SyncPhase) -> None:
        """Say what the sync does from now on."""
        self.progress = self._entering(phase)
        self._in_transaction(lambda _: self._write())
        self._estimate.not_asked_yet()

    def connected(
        self, account: Account, *, active: int, living: int, to_read: Sequence[int]
    ) -> None:
        """Write down whose account it is, how many active and how many living patients it has, and
        how many records there are to read in each list. Raises AccountMismatch, and KeyReplaced."""
        before = self.progress
        # Of what an earlier attempt has stored some may be gone by now: no page 8 of 4.
        found = max(sum(to_read), before.success + before.failed)
        total_pages = sum(max(1, ceil(count / PER_PAGE)) for count in to_read)
        self.checkpoint.update(found=found, active_found=active, living_found=living)
        self.progress = replace(
            self._entering(SyncPhase.FETCHING),
            found=found,
            active_found=active,
            living_found=living,
            total_pages=max(total_pages, before.current_page),
        )
        self.accepted(account, patients=active)

    def accepted(self, account: Account, *, patients: int | None = None) -> None:
        """Write down that Cliniko has shown patients for the key, and whose account it opens.
        Raises AccountMismatch, and KeyReplaced."""

        def write(_: lease.Standing) -> None:
            note_acceptance(self.target.organization_id, self.key, account, patients=patients)
            self._write()

        self._in_transaction(write)

    def store(self, pages: Sequence[RecordPage]) -> Stored:
        """Store the pages that follow, in one transaction. Raises BadResponse if half of a clinic's
        records or more are malformed, SyncTimeout when the sync has taken too long."""
        self.time_limit.check(self.progress)
        pages, left_out = self._forgotten.left_out_of(pages)

        def write(standing: lease.Standing) -> tuple[Stored, Progress, Shown]:
            some_failed = standing.failed > 0
            stored = store_pages(self.target, pages, seen_at=now(), some_failed=some_failed)
            progress = self._advanced(standing, stored, pages[-1].number)
            shown = Shown.from_json(standing.checkpoint).plus(
                stored.told, left_out=left_out, unread_tombstones=stored.unread_tombstones
            )
            self._write(progress, shown)
            return stored, progress, shown

        stored, self.progress, self._shown = self._in_transaction(write)
        self.progress.refuse_another_form()
        return stored

    def look_up(self, question: Callable[[], T]) -> T:
        """What the database answers to a question, asked with the patience of a write."""
        return patiently(question, meanwhile=self._stay_alive)

    def beat(self, waiting: Waiting | None = None) -> None:
        """Renew the lease and say what it waits for, and until when; at most every two seconds.

        Raises SyncTimeout when the sync has taken too long.
        """
        self._estimate.idle(waiting)
        if time.monotonic() - self._written_at < _BEAT_SECONDS:
            return
        self.time_limit.check(self.progress)
        shown = self._estimated(self.progress, waiting)
        if waiting is not None:
            shown = replace(shown, phase=SyncPhase.WAITING, waiting=waiting)
        self._in_transaction(lambda _: self._write(shown))

    @property
    def read_from(self) -> datetime:
        """When the sync began to read, by Cliniko's clock."""
        return datetime.fromisoformat(self.checkpoint["read_from"])

    def not_shown(self, counted: int, *, gone: Sequence[PatientRecord]) -> int:
        """How many of the living patients that Cliniko counts it has not shown so far. `gone`: who
        will be marked deleted; it may have shown them before."""

        def missing() -> int:
            shown = self._shown.plus(told_of(self.target, gone)) if gone else self._shown
            return shown.missing_of(counted, self.target, failed=self.progress.failed)

        return self.look_up(missing)

    def finish(self, removals: Outcome, *, counted: int | None = None) -> None:
        """Mark deleted what is to be marked, list what is held, compare what Cliniko has told with
        what we hold, and close the sync as completed: one transaction. `counted`: how many living
        patients Cliniko has said that there are."""

        def write(standing: lease.Standing) -> None:
            withheld = told_of(self.target, [*removals.held, *removals.kept])
            marks = RecordPage(self.progress.current_page, removals.marks)
            stored = store_pages(self.target, [marks], seen_at=now())
            progress = self._advanced(standing, stored, marks.number).finished()
            shown = Shown.from_json(standing.checkpoint).plus(stored.told).plus(withheld)
            held_rows.forget_listed_again(self.target)
            # Of all who are gone only a sync that reads everything makes a list from nothing.
            full = progress.sync_type is OperationType.FULL_PATIENTS
            if removals.listed or full:
                held_rows.replace_waiting(self.target, removals.listed, now())
            if progress.sync_type.sees_all_changes:
                watermark.move(self.target.organization_id, self.read_from)
            not_shown = None
            if counted is not None:
                not_shown = shown.missing_of(counted, self.target, failed=progress.failed)
            missed = progress.failed + (not_shown or 0)
            self._write(
                progress,
                removals_held=len(removals.listed),
                removals_unasked=removals.unasked,
                removals_kept=held_rows.count_kept(self.target.organization_id),
                not_shown=not_shown,
                certificate=shown.certificate(self.target, missed=missed) if full else None,
            )
            sync_log = db.session.get_one(SyncLog, self.target.sync_log_id, populate_existing=True)
            ending.complete(sync_log)

        self._in_transaction(write)

    def _entering(self, phase: SyncPhase) -> Progress:
        return self.progress.entering(phase, (now() - self._started_at).total_seconds())

    def _advanced(self, standing: lease.Standing, stored: Stored, page: int) -> Progress:
        before = self.progress
        success, failed = standing.success + stored.success, standing.failed + stored.failed
        found = max(before.found, success + failed)
        moved = replace(
            before,
            found=found,
            changes=ChangeCounts.from_json(standing.checkpoint.get("changes")).plus(stored.changes),
            success=success,
            failed=failed,
            current_page=page,
            total_pages=max(before.total_pages, page),
            percent=percent(success + failed, found, before=before.percent),
        )
        return self._estimated(moved, None)

    def _estimated(self, progress: Progress, waiting: Waiting | None) -> Progress:
        requests_left, per_minute = self._budget.seen_left, self._budget.per_minute
        seconds = self._estimate.remaining(
            progress, waiting, requests_left=requests_left, per_minute=per_minute
        )
        return replace(
            progress,
            remaining_seconds=seconds,
            requests_left=requests_left,
            requests_made=self._requests_before + self._requests_made(),
        )

    def _write(
        self,
        progress: Progress | None = None,
        shown: Shown | None = None,
        **outcome: Unpack[SyncMetadata],
    ) -> None:
        progress = progress or self.progress
        so_far = {"changes": progress.changes.to_json(), "writes": self._writes + 1}
        so_far |= (shown or self._shown).to_json()
        lease.write(
            self.target.sync_log_id,
            self._attempt,
            records_success=progress.success,
            records_failed=progress.failed,
            progress=progress.metadata() | outcome,
            checkpoint=self.checkpoint | so_far,
        )

    def _in_transaction(self, write: Callable[[lease.Standing], T]) -> T:
        def checked() -> T:
            return write(lease.check(self.target.sync_log_id, self._attempt, self._writes))

        self._budget.refresh()  # first, so that no transaction waits for Redis
        answer = patiently(checked, meanwhile=self._stay_alive)
        self._writes += 1
        self._written_at = time.monotonic()
        return answer

    def _stay_alive(self) -> None:
        """Who waits for the database is alive: renew the lease, as far as the database allows."""
        with suppress(DBAPIError), transaction():
            lease.write(self.target.sync_log_id, self._attempt)
