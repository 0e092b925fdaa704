"""The lists of a clinic in Cliniko: each read whole, by whichever way its server allows, and what
was read handed to the recorder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.listing import PER_PAGE, IdPage, IdRange, OrderIgnored, RangeStart, read_start
from webapp.cliniko.page import Page
from webapp.cliniko.records import PatientRecord
from webapp.sync.by_links import ByLinks
from webapp.sync.reader import Part, Reader
from webapp.sync.recorder import Recorder
from webapp.sync.removals import Removals
from webapp.sync.upsert import record_page


class Lists:
    """The lists as one attempt at a sync reads them. `rewritten` counts the patients of whom they
    have said something new."""

    def __init__(
        self,
        client: Cliniko,
        reader: Reader,
        recorder: Recorder,
        removals: Removals,
        *,
        before_each_page: Callable[[], None],
    ) -> None:
        self._client = client
        self._reader = reader
        self._recorder = recorder
        self._removals = removals
        self._before_each_page = before_each_page
        self.rewritten = 0
        # Places in lists of living patients where a deleted one stands, and is counted.
        self.gone: set[str] = set(recorder.checkpoint.get("gone", ()))
        self._by_links = ByLinks(reader, self.store, lambda: recorder.read_from)
        self._by_links.listings.update(map(Listing, recorder.checkpoint.get("by_links", ())))

    @property
    def by_links(self) -> set[Listing]:
        """The lists that have turned out to keep to no order."""
        return set(self._by_links.listings)

    def count(self, listings: Sequence[Listing], *, in_turn: bool = False) -> list[Future[Page]]:
        """Ask how many stand in each of some lists: the `total_entries` of each answer. `in_turn`:
        one after the other, and all are answered; the active ones last, so that whoever is archived
        between two counts is not counted twice."""
        asked = []
        for listing in reversed(listings):
            question = partial(self._client.get_page, listing, per_page=1)
            asked.append(self._reader.submit(question))
            if in_turn:
                self._reader.result(asked[-1])
        return asked

    def first_page(self, listing: Listing) -> IdPage:
        """The first page of a list. Raises ClinikoError."""
        return read_start(self._client, listing, RangeStart(1, PER_PAGE))

    def read(self, listing: Listing, first: IdPage) -> None:
        """Read a whole list; of one that is longer than a page, what an earlier attempt has left
        of it."""
        parts = None if first.ends else self._left_of(listing)
        try:
            if parts is None:
                store_first = partial(self.store, [first], listing)
                parts = self._reader.starts(listing, first, meanwhile=store_first)
            ranges = [part for part, _ in parts]
            for batch in self._reader.walk(parts):
                for part, page in batch:
                    part.move_to(page)
                self._recorder.checkpoint["reading"] = str(listing)
                self._recorder.checkpoint["ranges"] = [
                    part.to_json() for part in ranges if not part.done
                ]
                self.store([page for _, page in batch], listing)
        except OrderIgnored:
            # Whoever takes over goes by links, too.
            self._recorder.checkpoint.pop("reading", None)
            known = self._recorder.checkpoint.get("by_links", [])
            self._recorder.checkpoint["by_links"] = sorted({*known, str(listing)})
            self._by_links.read(listing)

    def read_again(self, listings: Sequence[Listing]) -> None:
        """Read some lists from their beginning, whatever was read of them before. Whoever takes
        over begins anew with this, too."""
        for listing in listings:
            self._recorder.checkpoint.pop("reading", None)
            if listing in self._by_links.listings:
                self._by_links.read(listing)
            else:
                first = self._reader.submit(partial(self.first_page, listing))
                self.read(listing, self._reader.result(first))

    def read_by_links(self, listing: Listing) -> None:
        """Read a whole list that keeps to no order. Raises BadResponse."""
        self._by_links.read(listing)

    def read_changed(self, listings: Sequence[Listing], filters: tuple[str, ...]) -> None:
        """Read what the filters leave of some lists; all of those that keep to no order."""
        in_order = [each for each in listings if each not in self._by_links.listings]
        others = [each for each in listings if each in self._by_links.listings]
        self.walk([(IdRange(listing, filters=filters), None) for listing in in_order])
        for listing in others:
            self._by_links.walk(listing)

    def walk(self, parts: list[Part]) -> None:
        """Read a range of each of some lists, side by side."""
        ranges = [part for part, _ in parts]
        try:
            for batch in self._reader.walk(parts):
                for each in ranges:
                    self.store([page for part, page in batch if part is each], each.listing)
        except OrderIgnored as ignored:
            self._by_links.read(ignored.listing)
            self.walk([(part, None) for part in ranges if part.listing is not ignored.listing])

    def store(self, pages: Sequence[Page | IdPage], listing: Listing | None = None) -> None:
        """Store pages that have arrived together: where Cliniko is quicker than the database, a
        transaction for each would cost more than what is in it. `listing`: the list that they were
        read from, if they are of a list."""
        if not pages:
            return
        self._before_each_page()
        number = self._recorder.progress.current_page
        deleted = listing is Listing.DELETED
        read = [
            record_page(page.records, number + nth, deleted=deleted)
            for nth, page in enumerate(pages, 1)
        ]
        read = [replace(page, records=self._storable(page.records, listing)) for page in read]
        self.rewritten += self._recorder.store(read).rewritten

    def _storable(
        self, records: Sequence[PatientRecord], listing: Listing | None
    ) -> Sequence[PatientRecord]:
        """Without the tombstones that would mark somebody deleted, in whichever list they stand."""
        tombstones = [each for each in records if each.is_tombstone]
        if not tombstones:
            return records
        if listing in (Listing.ACTIVE, Listing.ARCHIVED):
            self.gone.update(f"{listing} {each.cliniko_patient_id}" for each in tombstones)
            self._recorder.checkpoint["gone"] = sorted(self.gone)
        storable = self._recorder.look_up(partial(self._removals.sift, tombstones))
        return [each for each in records if not each.is_tombstone] + storable

    def _left_of(self, listing: Listing) -> list[Part] | None:
        """The ranges that an earlier attempt has left. The tombstones are always read afresh: those
        that would mark somebody are kept in memory until the end."""
        checkpoint = self._recorder.checkpoint
        if listing is Listing.DELETED or checkpoint.get("reading") != listing:
            return None
        return [(IdRange.from_json(values), None) for values in checkpoint["ranges"]]
