"""Reading a clinic so that nobody is lost while patients are archived, restored or merged.

First the active patients, then the archived ones: never the other way round, nor at once. Then
what has changed since the start, until nothing has (`catch_up.py`). Then the tombstones. If Cliniko
counts more living patients than it has shown, both their lists are read once more. Then a question
about everybody whom no list has shown.

A sync of what changed asks each list for what is newer than the watermark. What changes while it
reads is newer than its own start, from which the next one asks.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from functools import partial

import structlog

from webapp.cliniko.client import Account, Cliniko, Listing
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.listing import IdPage, IdRange, OrderIgnored, read_changes, read_last
from webapp.cliniko.page import Page
from webapp.clock import iso, now
from webapp.models import OperationType, Organization, SyncPhase
from webapp.services.connection import check_account
from webapp.sync.catch_up import CatchUp
from webapp.sync.failures import some_without_id
from webapp.sync.lists import Lists
from webapp.sync.reader import Part, Reader
from webapp.sync.recorder import Recorder
from webapp.sync.removals import Removals

log = structlog.get_logger()

# By which moment each list is asked for what is new. Archiving and merging move the first, too.
_CHANGED_BY = {
    Listing.ACTIVE: "updated_at",
    Listing.ARCHIVED: "updated_at",
    Listing.DELETED: "deleted_at",
}
_LIVING = (Listing.ACTIVE, Listing.ARCHIVED)
# If one reading has used up this share of a sync's time, another would not come to its end.
_TIME_FOR_ONE = 0.45


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
        self._removals = Removals(recorder.target)
        self._archived: IdPage | None = None  # as it was at the start, if one page holds all
        self._lists = Lists(
            client, reader, recorder, self._removals, before_each_page=before_each_page
        )
        self._catch_up = CatchUp(self._lists, reader, recorder, self._removals)

    def read_everything(self, organization: Organization) -> None:
        """Bring the clinic in step and close the sync; goes on where an earlier attempt ended."""
        progress, counted = self._recorder.progress, None
        full = progress.sync_type is OperationType.FULL_PATIENTS
        if progress.changed_since is None:
            counted = self._read_lists(organization, full)
        else:
            self._read_changes(organization, progress.changed_since)
        outcome = self._look_up(partial(self._removals.outcome, of_all=full))
        self._recorder.finish(outcome, counted=counted)

    def _read_lists(self, organization: Organization, full: bool) -> int:
        """How many living patients Cliniko says at the end that there are."""
        account = self._account_again(organization) if self._done("active") else None
        if account is None:
            self._read_active(organization, full)
        if full:
            self._read_archived()
        self._recorder.enter(SyncPhase.RECONCILING)
        deleted = self._ask_for(Listing.DELETED) if full else None  # beside the catch-up
        counted, passes = self._catch_up.read(_living(full), archived=self._archived)
        if deleted is not None:
            if passes > 1:  # it has taken more than a moment
                deleted = self._ask_for(Listing.DELETED)
            counted = self._read_deleted(deleted, counted)
        if self._may_read_again(counted):
            log.warning("sync_reads_again", not_shown=self._catch_up.not_shown(counted))
            with suppress(BadResponse):  # what would have completed must not fail for it
                self._lists.read_again(_living(full))
            counted, _ = self._catch_up.read(_living(full), again=True)
        if account is not None:
            self._recorder.accepted(account)
        if full:
            self._ask_about_missing()
        return counted

    def _account_again(self, organization: Organization) -> Account:
        """Whose account it is, for an attempt that begins behind the list of active patients."""
        account = self._reader.result(self._reader.submit(self._client.account))
        self._look_up(partial(check_account, organization, account))
        self._recorder.enter(SyncPhase.FETCHING)
        return account

    def _read_changes(self, organization: Organization, since: datetime) -> None:
        """Read what each list has that is newer; an attempt that takes over begins again."""
        reader = self._reader
        whose = reader.submit(self._client.account)
        counting = reader.submit(partial(read_last, self._client, Listing.ACTIVE))
        parts = [
            IdRange(listing, filters=(f"{moment}:>={iso(since)}",))
            for listing, moment in _CHANGED_BY.items()
        ]
        asked = [reader.submit(partial(read_changes, self._client, part)) for part in parts]
        account, counted = reader.result(whose), reader.result(counting)
        self._look_up(partial(check_account, organization, account))
        by_links = self._lists.by_links
        begun: list[Part] = []
        pages: list[Page | IdPage] = []
        for part, each in zip(parts, asked, strict=True):
            try:
                first = reader.result(each)
                reader.set_end(part, first)
                begun.append((part, first))
                pages.append(first)
            except OrderIgnored:
                by_links.add(part.listing)
        pages += [reader.result(each) for each in self._lists.count(sorted(by_links))]
        self._note_start(counted, *pages)
        to_read = [page.total_entries for page in pages]
        active = counted.total_entries
        self._recorder.connected(account, active=active, living=active, to_read=to_read)
        self._lists.walk(begun)
        for listing in sorted(by_links):
            self._lists.read_by_links(listing)

    def _read_active(self, organization: Organization, full: bool) -> None:
        """The first answers come together; none is stored before it is sure whose account it is."""
        reader = self._reader
        asked = self._ask_for(Listing.ACTIVE)
        whose = reader.submit(self._client.account)
        archived = self._ask_for(Listing.ARCHIVED) if full else None
        counting = self._lists.count([Listing.DELETED] if full else [])
        to_read = [page.total_entries for page in reader.results(counting)]
        account, first = reader.result(whose), reader.result(asked)
        self._look_up(partial(check_account, organization, account))
        firsts = [first]
        if archived is not None:
            firsts.append(reader.result(archived))
            self._archived = firsts[-1] if firsts[-1].ends else None
        self._note_start(*firsts)
        living = [page.total_entries for page in firsts]
        self._recorder.connected(
            account, active=living[0], living=sum(living), to_read=to_read + living
        )
        self._lists.read(Listing.ACTIVE, first)
        self._mark_done("active")

    def _note_start(self, *answers: Page | IdPage) -> None:
        """When the first of these came, by Cliniko's clock; one that runs ahead must not count."""
        read_from = min([now(), *(each.served_at for each in answers if each.served_at)])
        self._recorder.checkpoint.setdefault("read_from", iso(read_from))

    def _read_archived(self) -> None:
        if self._done("archived") or self._archived is not None:
            return
        first = self._reader.result(self._ask_for(Listing.ARCHIVED))
        if first.ends:  # one page is read at the end, by each attempt
            self._archived = first
            return
        self._lists.read(Listing.ARCHIVED, first)
        self._mark_done("archived")

    def _read_deleted(self, asked: Future[IdPage], counted: int) -> int:
        """Read the tombstones. How many living patients there are without those who were counted
        before they were deleted."""
        self._lists.read(Listing.DELETED, self._reader.result(asked))
        if not self._catch_up.not_shown(counted):
            return counted
        again = self._lists.count(_LIVING, in_turn=True)
        return min(counted, self._catch_up.sum_of(again))

    def _ask_for(self, listing: Listing) -> Future[IdPage]:
        """Ask for the first page of a list."""
        return self._reader.submit(partial(self._lists.first_page, listing))

    def _may_read_again(self, counted: int) -> bool:
        """Whether somebody was not shown, and a second reading can tell who and has the time."""
        recorder = self._recorder
        in_time = not recorder.time_limit.is_used(recorder.progress, _TIME_FOR_ONE)
        if not (in_time and self._catch_up.not_shown(counted)):
            return False
        return not self._look_up(partial(some_without_id, recorder.target.sync_log_id))

    def _ask_about_missing(self) -> None:
        missing = self._look_up(self._removals.missing)
        if missing:
            self._removals.list_again(missing, self._reader, self._lists.store)
            unknown = self._look_up(self._removals.unknown)
            self._removals.ask_about(unknown, self._client, self._reader, self._lists.store)

    def _done(self, stage: str) -> bool:
        return stage in self._recorder.checkpoint.get("done", ())

    def _mark_done(self, stage: str) -> None:
        self._recorder.checkpoint["done"] = [*self._recorder.checkpoint.get("done", ()), stage]


def _living(full: bool) -> tuple[Listing, ...]:
    """The lists of living patients that a sync reads."""
    return _LIVING if full else (Listing.ACTIVE,)
