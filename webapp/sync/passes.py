"""Reading a clinic so that nobody is lost while patients are archived, restored or merged.

First the active patients, then the archived ones: who is archived in between stands there.
Then what has changed since the start, until nothing has: who was restored in between is found here.
Then the tombstones, and a question about everybody whom no list has shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.errors import BadResponse, MalformedRecord
from webapp.cliniko.listing import (
    PER_PAGE,
    IdPage,
    IdRange,
    OrderIgnored,
    RangeStart,
    id_of,
    read_start,
)
from webapp.cliniko.page import Page
from webapp.cliniko.records import PatientRecord, parse_patient, parse_tombstone
from webapp.clock import iso, now
from webapp.models import OperationType, Organization, SyncPhase
from webapp.services.connection import check_account
from webapp.sync.failures import Refusal
from webapp.sync.reader import Part, Reader
from webapp.sync.recorder import Recorder
from webapp.sync.removals import Removals
from webapp.sync.upsert import RecordPage

# Cliniko's clock and the moment it stamps a change may differ a little.
_OVERLAP = timedelta(minutes=5)
_MOST_CATCH_UPS = 3
_MOST_WALKS = 5


class Passes:
    """The passes of one attempt at a sync, from the first request to the last."""

    def __init__(
        self,
        client: Cliniko,
        reader: Reader,
        recorder: Recorder,
        *,
        before_each_page: Callable[[], None],
    ) -> None:
        self._client = client
        self._reader = reader
        self._recorder = recorder
        self._look_up = recorder.look_up
        self._before_each_page = before_each_page
        self._removals = Removals(recorder.target)
        self._rewritten = 0
        self._in_order = True

    def read_everything(self, organization: Organization) -> None:
        """Bring the clinic in step and close the sync; goes on where an earlier attempt ended."""
        full = self._recorder.progress.sync_type is OperationType.FULL_PATIENTS
        if self._done("active"):
            account = self._reader.answer(self._reader.put(self._client.account))
            self._look_up(partial(check_account, organization, account))
        else:
            self._read_active(organization, full)
        if full:
            self._read_others()
        self._recorder.enter(SyncPhase.RECONCILING)
        self._catch_up(full)
        if full:
            self._ask_about_missing()
        self._recorder.finish(self._look_up(self._removals.outcome))

    def _read_active(self, organization: Organization, full: bool) -> None:
        """The first answers come together; none is stored before it is sure whose account it is."""
        reader, count = self._reader, partial(self._client.get_page, per_page=1)
        asked = reader.put(partial(self._first_page, Listing.ACTIVE))
        whose = reader.put(self._client.account)
        others = [Listing.ARCHIVED, Listing.DELETED] if full else []
        counts = reader.ask(partial(count, listing) for listing in others)
        account, first = reader.answer(whose), reader.answer(asked)
        self._look_up(partial(check_account, organization, account))
        # By Cliniko's clock; one that runs ahead must not hide what changes meanwhile.
        begun_at = min(first.served_at or now(), now())
        self._recorder.checkpoint.setdefault("read_from", iso(begun_at))
        self._recorder.connected(
            account,
            active=first.total_entries,
            others=sum(answer.total_entries for answer in counts),
            listings=len(counts),
        )
        self._read(Listing.ACTIVE, first)
        self._mark_done("active")

    def _read_others(self) -> None:
        archived, deleted = self._reader.ask(
            partial(self._first_page, listing) for listing in (Listing.ARCHIVED, Listing.DELETED)
        )
        if not self._done("archived"):
            self._read(Listing.ARCHIVED, archived)
            self._mark_done("archived")
        self._read(Listing.DELETED, deleted)

    def _catch_up(self, full: bool) -> None:
        """Read what has changed since the start, until a pass brings nothing new."""
        since = datetime.fromisoformat(self._recorder.checkpoint["read_from"]) - _OVERLAP
        changed = (f"updated_at:>={iso(since)}",)
        listings = (Listing.ACTIVE, Listing.ARCHIVED) if full else (Listing.ACTIVE,)
        for _ in range(_MOST_CATCH_UPS):
            if not self._in_order:
                return  # two walks that agreed have caught up already
            before = self._rewritten
            parts: list[Part] = [(IdRange(listing, filters=changed), None) for listing in listings]
            try:
                for batch in self._reader.walk(parts):
                    for listing in listings:
                        self._store(
                            listing, [page for part, page in batch if part.listing is listing]
                        )
            except OrderIgnored:
                for listing in listings:
                    self._read_by_links(listing)
            if self._rewritten == before:
                return

    def _ask_about_missing(self) -> None:
        missing = self._look_up(self._removals.missing)
        if missing:
            self._removals.list_again(missing, self._reader, self._store)
            unknown = self._look_up(self._removals.unknown)
            self._removals.ask_about(unknown, self._client, self._reader)

    def _first_page(self, listing: Listing) -> IdPage:
        return read_start(self._client, listing, RangeStart(1, PER_PAGE))

    def _read(self, listing: Listing, first: IdPage) -> None:
        """Read a whole listing, or what an earlier attempt has left of it."""
        parts = self._left_of(listing)
        try:
            if parts is None:
                store_first = partial(self._store, listing, [first])
                parts = self._reader.starts(listing, first, meanwhile=store_first)
            ranges = [part for part, _ in parts]
            for batch in self._reader.walk(parts):
                for part, page in batch:
                    part.move_to(page)
                self._recorder.checkpoint["reading"] = str(listing)
                self._recorder.checkpoint["ranges"] = [
                    part.to_json() for part in ranges if not part.done
                ]
                self._store(listing, [page for _, page in batch])
        except OrderIgnored:
            self._read_by_links(listing)

    def _read_by_links(self, listing: Listing) -> None:
        """Walk the list page after page until two walks have shown the same patients."""
        self._in_order = False
        before: set[int | None] | None = None
        for _ in range(_MOST_WALKS):
            seen: set[int | None] = set()
            for page in self._reader.walk_links(listing):
                self._store(listing, [page])
                seen.update(map(id_of, page.records))
            if seen == before:
                return
            before = seen
        raise BadResponse(
            "Cliniko's list of patients changed each time it was read. Try again later."
        )

    def _store(self, listing: Listing, pages: Sequence[Page | IdPage]) -> None:
        """Store pages that have arrived together: where Cliniko is quicker than the database, a
        transaction for each would cost more than what is in it."""
        if not pages:
            return
        self._before_each_page()
        parse = parse_tombstone if listing is Listing.DELETED else parse_patient
        number = self._recorder.progress.current_page
        read = [parsed(page.records, parse, number + nth) for nth, page in enumerate(pages, 1)]
        if listing is Listing.DELETED:
            read = [replace(page, records=self._storable(page.records)) for page in read]
        self._rewritten += self._recorder.store(read).rewritten

    def _storable(self, tombstones: Sequence[PatientRecord]) -> list[PatientRecord]:
        return self._look_up(partial(self._removals.sift, tombstones))

    def _left_of(self, listing: Listing) -> list[Part] | None:
        """The ranges that an earlier attempt has left. The tombstones are always read afresh: those
        that would mark somebody are kept in memory until the end."""
        checkpoint = self._recorder.checkpoint
        if listing is Listing.DELETED or checkpoint.get("reading") != listing:
            return None
        return [(IdRange.from_json(values), None) for values in checkpoint["ranges"]]

    def _done(self, stage: str) -> bool:
        return stage in self._recorder.checkpoint.get("done", ())

    def _mark_done(self, stage: str) -> None:
        self._recorder.checkpoint["done"] = [*self._recorder.checkpoint.get("done", ()), stage]


def parsed(
    raw: Sequence[object], parse: Callable[[object], PatientRecord], number: int
) -> RecordPage:
    """The records of a page, and which of them are malformed."""
    records, refusals = [], []
    for place, item in enumerate(raw, start=1):
        try:
            records.append(parse(item))
        except MalformedRecord as error:
            refusals.append(Refusal.of(error, number, place))
    return RecordPage(number, records, refusals)
