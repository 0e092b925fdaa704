"""Reading a clinic so that nobody is lost while patients are archived, restored or merged.

First the active patients, then the archived ones: who is archived in between stands there.
Then what has changed since the start, until nothing has: who was restored in between is found here.
Then the tombstones, and a question about everybody whom no list has shown.

A sync of what changed asks each list for what is newer than the watermark. What changes while it
reads is newer than its own start, from which the next one asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from webapp.cliniko.client import Account, Cliniko, Listing
from webapp.cliniko.listing import (
    PER_PAGE,
    IdPage,
    IdRange,
    OrderIgnored,
    RangeStart,
    read_changes,
    read_last,
    read_start,
)
from webapp.cliniko.page import Page
from webapp.cliniko.records import PatientRecord
from webapp.clock import iso, now
from webapp.models import OperationType, Organization, SyncPhase
from webapp.services.connection import check_account
from webapp.sync.by_links import ByLinks
from webapp.sync.reader import Part, Reader
from webapp.sync.recorder import Recorder
from webapp.sync.removals import Removals
from webapp.sync.upsert import record_page
from webapp.sync.watermark import OVERLAP

# By which moment each list is asked for what is new. Archiving and merging move the first, too.
_CHANGED_BY = {
    Listing.ACTIVE: "updated_at",
    Listing.ARCHIVED: "updated_at",
    Listing.DELETED: "deleted_at",
}
_MOST_CATCH_UPS = 3


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
        self._by_links = ByLinks(reader, self._store, self._begun_at)
        self._by_links.listings.update(map(Listing, recorder.checkpoint.get("by_links", ())))

    def read_everything(self, organization: Organization) -> None:
        """Bring the clinic in step and close the sync; goes on where an earlier attempt ended."""
        progress = self._recorder.progress
        full = progress.sync_type is OperationType.FULL_PATIENTS
        if progress.changed_since is None:
            self._read_lists(organization, full)
        else:
            self._read_changes(organization, progress.changed_since)
        outcome = self._look_up(partial(self._removals.outcome, of_all=full))
        self._recorder.finish(outcome)

    def _read_lists(self, organization: Organization, full: bool) -> None:
        account = self._account_again(organization) if self._done("active") else None
        if account is None:
            self._read_active(organization, full)
        if full:
            self._read_others()
        self._recorder.enter(SyncPhase.RECONCILING)
        self._catch_up(full)
        if account is not None:
            self._recorder.accepted(account)
        if full:
            self._ask_about_missing()

    def _account_again(self, organization: Organization) -> Account:
        """Whose account it is, for an attempt that begins behind the list of active patients."""
        account = self._reader.answer(self._reader.put(self._client.account))
        self._look_up(partial(check_account, organization, account))
        self._recorder.enter(SyncPhase.FETCHING)
        return account

    def _read_changes(self, organization: Organization, since: datetime) -> None:
        """Read what each list has that is newer; an attempt that takes over begins again."""
        reader = self._reader
        whose = reader.put(self._client.account)
        counting = reader.put(partial(read_last, self._client, Listing.ACTIVE))
        parts = [
            IdRange(listing, filters=(f"{moment}:>={iso(since)}",))
            for listing, moment in _CHANGED_BY.items()
        ]
        asked = [reader.put(partial(read_changes, self._client, part)) for part in parts]
        account, counted = reader.answer(whose), reader.answer(counting)
        self._look_up(partial(check_account, organization, account))
        begun: list[Part] = []
        pages: list[Page | IdPage] = []
        for part, each in zip(parts, asked, strict=True):
            try:
                first = reader.answer(each)
                reader.close(part, first)
                begun.append((part, first))
                pages.append(first)
            except OrderIgnored:
                self._by_links.listings.add(part.listing)
        by_links = sorted(self._by_links.listings)
        count = partial(self._client.get_page, per_page=1)
        pages += reader.ask(partial(count, listing) for listing in by_links)
        self._note_start(counted, *pages)
        to_read = [page.total_entries for page in pages]
        self._recorder.connected(account, active=counted.total_entries, to_read=to_read)
        self._walk(begun)
        for listing in by_links:
            self._by_links.read(listing)

    def _read_active(self, organization: Organization, full: bool) -> None:
        """The first answers come together; none is stored before it is sure whose account it is."""
        reader, count = self._reader, partial(self._client.get_page, per_page=1)
        asked = reader.put(partial(self._first_page, Listing.ACTIVE))
        whose = reader.put(self._client.account)
        others = [Listing.ARCHIVED, Listing.DELETED] if full else []
        counts = reader.ask(partial(count, listing) for listing in others)
        account, first = reader.answer(whose), reader.answer(asked)
        self._look_up(partial(check_account, organization, account))
        self._note_start(first)
        to_read = [first.total_entries, *(answer.total_entries for answer in counts)]
        self._recorder.connected(account, active=first.total_entries, to_read=to_read)
        self._read(Listing.ACTIVE, first)
        self._mark_done("active")

    def _note_start(self, *answers: Page | IdPage) -> None:
        """When the first of these came, by Cliniko's clock; one that runs ahead must not count."""
        begun_at = min([now(), *(each.served_at for each in answers if each.served_at)])
        self._recorder.checkpoint.setdefault("read_from", iso(begun_at))

    def _begun_at(self) -> datetime:
        return datetime.fromisoformat(self._recorder.checkpoint["read_from"])

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
        changed = (f"updated_at:>={iso(self._begun_at() - OVERLAP)}",)
        listings = (Listing.ACTIVE, Listing.ARCHIVED) if full else (Listing.ACTIVE,)
        for _ in range(_MOST_CATCH_UPS):
            before = self._rewritten
            by_links = [each for each in listings if each in self._by_links.listings]
            in_order = [each for each in listings if each not in self._by_links.listings]
            self._walk([(IdRange(listing, filters=changed), None) for listing in in_order])
            for listing in by_links:
                self._by_links.walk(listing)
            if self._rewritten == before:
                return

    def _walk(self, parts: list[Part]) -> None:
        """Read a range of each of some lists, side by side."""
        ranges = [part for part, _ in parts]
        try:
            for batch in self._reader.walk(parts):
                for each in ranges:
                    self._store([page for part, page in batch if part is each])
        except OrderIgnored as ignored:
            self._by_links.read(ignored.listing)
            self._walk([(part, None) for part in ranges if part.listing is not ignored.listing])

    def _ask_about_missing(self) -> None:
        missing = self._look_up(self._removals.missing)
        if missing:
            # Of a server that ignores the question each of them is asked about by itself.
            with suppress(OrderIgnored):
                self._removals.list_again(missing, self._reader, self._store)
            unknown = self._look_up(self._removals.unknown)
            self._removals.ask_about(unknown, self._client, self._reader, self._store)

    def _first_page(self, listing: Listing) -> IdPage:
        return read_start(self._client, listing, RangeStart(1, PER_PAGE))

    def _read(self, listing: Listing, first: IdPage) -> None:
        """Read a whole listing, or what an earlier attempt has left of it."""
        parts = self._left_of(listing)
        try:
            if parts is None:
                store_first = partial(self._store, [first])
                parts = self._reader.starts(listing, first, meanwhile=store_first)
            ranges = [part for part, _ in parts]
            for batch in self._reader.walk(parts):
                for part, page in batch:
                    part.move_to(page)
                self._recorder.checkpoint["reading"] = str(listing)
                self._recorder.checkpoint["ranges"] = [
                    part.to_json() for part in ranges if not part.done
                ]
                self._store([page for _, page in batch])
        except OrderIgnored:
            # Whoever takes over goes by links, too.
            self._recorder.checkpoint.pop("reading", None)
            known = self._recorder.checkpoint.get("by_links", [])
            self._recorder.checkpoint["by_links"] = sorted({*known, str(listing)})
            self._by_links.read(listing)

    def _store(self, pages: Sequence[Page | IdPage]) -> None:
        """Store pages that have arrived together: where Cliniko is quicker than the database, a
        transaction for each would cost more than what is in it."""
        if not pages:
            return
        self._before_each_page()
        number = self._recorder.progress.current_page
        read = [record_page(page.records, number + nth) for nth, page in enumerate(pages, 1)]
        read = [replace(page, records=self._storable(page.records)) for page in read]
        self._rewritten += self._recorder.store(read).rewritten

    def _storable(self, records: Sequence[PatientRecord]) -> Sequence[PatientRecord]:
        """Without the tombstones that would mark somebody deleted, in whichever list they stand."""
        tombstones = [each for each in records if each.is_tombstone]
        if not tombstones:
            return records
        storable = self._look_up(partial(self._removals.sift, tombstones))
        return [each for each in records if not each.is_tombstone] + storable

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
