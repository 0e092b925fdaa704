"""What changes in the lists of living patients while a sync reads them, read until nothing has."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from webapp.cliniko.client import Listing
from webapp.cliniko.listing import IdPage
from webapp.cliniko.page import Page
from webapp.clock import iso
from webapp.sync.lists import Lists
from webapp.sync.reader import Reader
from webapp.sync.recorder import Recorder
from webapp.sync.removals import Removals
from webapp.sync.watermark import OVERLAP

_MOST_PASSES = 3


class CatchUp:
    """Brings a copy from the start of a sync to its end."""

    def __init__(
        self, lists: Lists, reader: Reader, recorder: Recorder, removals: Removals
    ) -> None:
        self._lists = lists
        self._reader = reader
        self._recorder = recorder
        self._removals = removals

    def read(
        self, listings: Sequence[Listing], *, archived: IdPage | None = None, again: bool = False
    ) -> tuple[int, int]:
        """Read what has changed since the start, until a pass brings nothing new, and once more if
        Cliniko counts more living patients than it has shown. How many it counts, and how many
        passes there were.

        `archived`: the page of all archived patients, if one holds them, as it was at the start;
        nothing of it is stored yet. `again`: Cliniko has counted more already.
        """
        changed, passes = (f"updated_at:>={iso(self._recorder.read_from - OVERLAP)}",), 0
        while True:
            passes += 1
            if archived is not None:
                counted, news = self._with_all_archived(archived, changed)
                archived = None
            else:
                # In a second pass first, so that whoever is counted is there to be shown.
                counting = self._lists.count(listings, in_turn=again)
                news = self._read_changed(listings, changed)
                counted = self.sum_of(counting)
            in_step = not news and (again or not self.not_shown(counted))
            if in_step or passes == _MOST_PASSES:
                return counted, passes
            again = True

    def not_shown(self, counted: int) -> int:
        """How many of the living patients that Cliniko counts it has not shown so far."""
        return self._recorder.not_shown(counted, gone=self._removals.marks)

    def sum_of(self, counting: Sequence[Future[Page]]) -> int:
        """How many living patients these answers count."""
        counts = [page.total_entries for page in self._reader.results(counting)]
        return sum(counts) - len(self._lists.gone)

    def _read_changed(self, listings: Sequence[Listing], changed: tuple[str, ...]) -> bool:
        """Whether there was something new."""
        before = self._lists.rewritten
        self._lists.read_changed(listings, changed)
        return self._lists.rewritten != before

    def _with_all_archived(self, early: IdPage, changed: tuple[str, ...]) -> tuple[int, bool]:
        """A first pass that reads all archived patients beside what has changed of the others: how
        many living ones are counted, and whether anything is new since the start.

        They must be read behind the active ones, whatever Cliniko tells of a change: who was
        archived after their page of those was read is here, and who was restored is not shown as
        they were before. Who has left the list stands perhaps where the sync had been already.
        """
        # By an attempt that ended in here, of whom whoever takes over has not heard.
        stored = self._recorder.look_up(self._removals.stored_as_archived)
        asked = self._reader.submit(partial(self._lists.first_page, Listing.ARCHIVED))
        counting = self._lists.count([Listing.ACTIVE])
        in_turn = Listing.ACTIVE in self._lists.by_links  # which may take minutes
        if in_turn:
            self._lists.read(Listing.ARCHIVED, self._reader.result(asked))
        news = self._read_changed([Listing.ACTIVE], changed)
        page = self._reader.result(asked)
        if not in_turn:
            self._lists.read(Listing.ARCHIVED, page)
        if left := (_ids_in(early) | stored) - _ids_in(page):
            self._removals.list_again(sorted(left), self._reader, self._lists.store)
        news = news or set(page.records) != set(early.records)
        return self.sum_of(counting) + page.total_entries, news


def _ids_in(page: IdPage) -> set[str]:
    return {record.cliniko_patient_id for record in page.records if record.cliniko_patient_id}
