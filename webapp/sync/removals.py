"""Patients that are gone from Cliniko. Absence never means deleted.

Only a tombstone in Cliniko's list of deleted patients, or a plain "no such patient" about one that
stands in no list, marks a patient deleted, and only when the sync completes. A sync that would mark
suspiciously many marks none: they are held until somebody decides (`held`). Whom somebody decided
to keep is neither marked nor counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import structlog
from sqlalchemy import func, select

from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.errors import BadResponse, ClinikoError, Forbidden, Unavailable
from webapp.cliniko.listing import IdPage, IdRange, OrderIgnored
from webapp.cliniko.page import Page
from webapp.cliniko.records import Malformed, PatientRecord, PatientState
from webapp.clock import now
from webapp.extensions import db
from webapp.models import Patient
from webapp.sync.held_rows import kept_keys, waiting_records
from webapp.sync.reader import REQUESTS_AT_ONCE, Reader
from webapp.sync.rows import among
from webapp.sync.target import Target
from webapp.sync.upsert import superseding

log = structlog.get_logger()

HOLD_ABOVE = 20
HOLD_ABOVE_SHARE = 0.05

# Each needs a request of its own, so a sync asks about so many and leaves the rest to the next one.
MOST_SINGLE_QUESTIONS = 100
_FEW = 3  # about so many Cliniko may give no answer, though it does about others
_IDS_IN_A_QUESTION = 100


class Outcome(NamedTuple):
    """The patients to mark deleted now, the held removals, and the kept ones. `waiting`: who was
    held before and goes on waiting, though nothing was heard of them. `unasked`: how many others
    stand in no list either, but this sync had no question left for them, or no answer."""

    marks: Sequence[PatientRecord] = ()
    held: Sequence[PatientRecord] = ()
    kept: Sequence[PatientRecord] = ()
    waiting: Sequence[PatientRecord] = ()
    unasked: int = 0

    @property
    def listed(self) -> list[PatientRecord]:
        """All about whom somebody is to decide."""
        return [*self.waiting, *self.held]


class _NoAnswer(NamedTuple):
    """What stands for an answer that Cliniko does not give, and why it does not."""

    error: ClinikoError


class Removals:
    """Collects the patients that this sync would mark deleted."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._marks: dict[str, PatientRecord] = {}
        self._some_unknown = False  # to Cliniko itself, and not only in none of its lists
        self._unanswered: set[str] = set()  # in no list either, and nothing is known of them

    @property
    def marks(self) -> list[PatientRecord]:
        """The tombstones that were kept for the end so far."""
        return list(self._marks.values())

    def sift(self, records: Sequence[PatientRecord]) -> list[PatientRecord]:
        """The tombstones that can be stored at once: of patients we never held, or hold as deleted.

        The others are kept for the end.
        """
        living = self._living([record.cliniko_patient_id for record in records])
        for record in records:
            if record.cliniko_patient_id in living:
                self._marks[record.cliniko_patient_id] = record
        return [record for record in records if record.cliniko_patient_id not in living]

    def missing(self) -> list[str]:
        """Ids of patients that we hold as living and that no listing of this sync has shown, those
        first whom no sync has seen for the longest time."""
        rows = db.session.scalars(
            select(Patient.cliniko_patient_id)
            .where(
                Patient.organization_id == self._target.organization_id,
                Patient.state != PatientState.DELETED,
                Patient.last_sync_id != self._target.sync_log_id,
            )
            .order_by(Patient.last_synced, Patient.id)
        )
        return [key for key in rows if key not in self._marks]

    def stored_as_archived(self) -> set[str]:
        """Ids of the patients that we hold as archived because a list of this sync said so."""
        rows = db.session.scalars(
            select(Patient.cliniko_patient_id).where(
                Patient.organization_id == self._target.organization_id,
                Patient.state == PatientState.ARCHIVED,
                Patient.last_sync_id == self._target.sync_log_id,
            )
        )
        return set(rows)

    def list_again(
        self,
        missing: Sequence[str],
        reader: Reader,
        store: Callable[[Sequence[IdPage | Page], Listing], None],
    ) -> None:
        """Ask each of Cliniko's lists for patients that none has shown; `store` takes those that
        it has. Whoever a list that refuses the question, or ignores it, leaves open is asked about
        by themselves: what would have completed must not fail for it."""
        for begin in range(0, len(missing), _IDS_IN_A_QUESTION):
            some = missing[begin : begin + _IDS_IN_A_QUESTION]
            for listing in (Listing.ACTIVE, Listing.ARCHIVED, Listing.DELETED):
                part = IdRange(listing, filters=(f"id:={','.join(some)}",))
                with suppress(OrderIgnored, BadResponse):
                    for batch in reader.walk([(part, None)]):
                        store([page for _, page in batch], listing)

    def unknown(self) -> list[str]:
        """Ids of the missing patients whom a question each is worth."""
        # Nobody waits for an answer about the kept ones, and they must not use up the questions.
        kept = kept_keys(self._target.organization_id)
        return [key for key in self.missing() if key not in kept]

    def ask_about(
        self,
        unknown: Sequence[str],
        client: Cliniko,
        reader: Reader,
        store: Callable[[Sequence[IdPage | Page]], None],
    ) -> None:
        """Ask Cliniko about the first of the patients that stand in no list. Those answered with
        "no such patient" will be marked; `store` takes those that it has. Raises ClinikoError if
        it gives no answer about any of several: then it is not these patients."""
        self._unanswered.update(unknown)
        silent = 0
        asked = unknown[:MOST_SINGLE_QUESTIONS]
        for begin in range(0, len(asked), REQUESTS_AT_ONCE):
            some = asked[begin : begin + REQUESTS_AT_ONCE]
            answers = reader.ask(partial(_answer_about, client, key) for key in some)
            there = []
            for key, answer in zip(some, answers, strict=True):
                if isinstance(answer, _NoAnswer):
                    silent += 1
                    if silent == begin + len(some) > _FEW:
                        raise answer.error
                    continue
                self._unanswered.discard(key)
                if answer is None:
                    gone = PatientRecord(key, PatientState.DELETED, deleted_at=now())
                    self._marks[key] = gone
                    self._some_unknown = True
                else:
                    there.append(answer)
            if there:
                store([Page(there, len(there), None, None)])

    def outcome(self, *, of_all: bool) -> Outcome:
        """Decide what happens to the patients that were collected: if they are suspiciously many,
        all are held. Patients about whom this sync could not ask count towards that.

        `of_all`: these are all who are gone. Otherwise, and where Cliniko gave no answer about
        them, held removals of earlier syncs go on waiting, and count too: many who go a few at a
        time are many.
        """
        keys = kept_keys(self._target.organization_id)
        kept = [record for key, record in self._marks.items() if key in keys]
        found = [record for key, record in self._marks.items() if key not in keys]
        waiting = waiting_records(self._target.organization_id)
        if of_all:  # the others were found once more, or are listed
            waiting = {key: waiting[key] for key in waiting.keys() & self._unanswered}
        changing = superseding(self._target, found)
        marks = [record for record in changing if record.cliniko_patient_id not in waiting]
        # Who is left for another sync has gone the same way, as far as anybody can tell.
        unasked = len(self._unanswered - waiting.keys())
        gone = len(marks) + len(waiting) + (unasked if self._some_unknown else 0)
        many = gone > HOLD_ABOVE and gone > HOLD_ABOVE_SHARE * self._count_living()
        if (many and marks) or (of_all and waiting):
            return Outcome((), marks, kept, list(waiting.values()), unasked)
        return Outcome(() if many else marks, (), kept, unasked=unasked)

    def _living(self, keys: list[str]) -> set[str]:
        theirs = (among(self._target, keys), Patient.state != PatientState.DELETED)
        return set(db.session.scalars(select(Patient.cliniko_patient_id).where(*theirs)))

    def _count_living(self) -> int:
        query = select(func.count()).where(
            Patient.organization_id == self._target.organization_id,
            Patient.state != PatientState.DELETED,
        )
        return db.session.scalar(query) or 0


def _answer_about(client: Cliniko, key: str) -> PatientRecord | Malformed | _NoAnswer | None:
    """What Cliniko says about one patient. A single one about whom it refuses to answer, or answers
    with another one, must not keep all the others from being synced."""
    try:
        answer = client.patient(key)
        if answer is not None and answer.cliniko_patient_id != key:
            raise BadResponse
        return answer
    except (Forbidden, BadResponse, Unavailable) as error:
        log.warning("no_answer_about_a_patient", error_code=error.error_code)
        return _NoAnswer(error)
