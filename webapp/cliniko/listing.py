"""Reading a whole listing without losing a record while records come and go.

Page numbers shift when a patient is archived; ids do not. So a listing is walked by id, and to be
fast it is cut into ranges of ids that are walked side by side. A range begins with a page asked
for by number, which tells the range's first id, and goes on by `id:>last` until it meets the first
id of the next range. It must really meet it: the ranges overlap by at least one record, so a
record that slipped between two pages because the list moved is found by one more request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import ceil
from typing import Any

from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.page import Page
from webapp.cliniko.records import Malformed, PatientRecord

PER_PAGE = 100  # the most that Cliniko gives
_SMALLEST_FIRST_PAGE = 60
# Before each second look, in seconds: what looks cut off for a moment is not looked at within it.
_LOOK_AGAIN_AFTER = (1.0, 2.0)


class OrderIgnored(Exception):
    """The server does not keep to the order or the filter by id: walk the list by links instead."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(str(listing))
        self.listing = listing


@dataclass(frozen=True)
class RangeStart:
    """The page, by number, that a range begins with."""

    page: int
    per_page: int

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page


@dataclass(frozen=True)
class IdPage:
    """A page in the order of ids: where to go on, and whether the list ends with it."""

    records: list[PatientRecord | Malformed]
    total_entries: int
    first_id: int | None
    last_id: int
    ends: bool
    served_at: datetime | None = None
    in_order: bool = True


@dataclass
class IdRange:
    """A part of a listing: what comes after the id `after`, as far as the id `until`.

    `after` moves forward as pages are stored, so a range can be written down and gone on with.
    """

    listing: Listing
    after: int = 0
    until: int | None = None
    filters: tuple[str, ...] = ()
    done: bool = False

    def is_read_by(self, page: IdPage) -> bool:
        """Whether nothing of the range is left behind this page."""
        return page.ends or (self.until is not None and page.last_id >= self.until)

    def move_to(self, page: IdPage) -> None:
        """The page is taken: go on behind it."""
        self.after = page.last_id
        self.done = self.is_read_by(page)

    def to_json(self) -> list[Any]:
        """The range as JSON values."""
        return [str(self.listing), self.after, self.until, self.done]

    @classmethod
    def from_json(cls, values: list[Any]) -> IdRange:
        """The range that `to_json` wrote."""
        listing, after, until, done = values
        return cls(Listing(listing), after, until, done=done)


def plan_starts(total: int, at_most: int) -> list[RangeStart]:
    """Where the ranges of a listing of `total` records begin, about `at_most` of them.

    Each range but the first begins inside the last page of the one before. A page's place is its
    number times its size, so the sizes differ a little: the choice that wastes the fewest records.
    """
    pages_each = ceil(ceil(total / PER_PAGE) / at_most) or 1
    starts = [RangeStart(1, PER_PAGE)]
    end = PER_PAGE * pages_each
    while end < total:
        start = _start_before(end)
        starts.append(start)
        end = start.offset + start.per_page + PER_PAGE * (pages_each - 1)
    return starts


def _start_before(end: int) -> RangeStart:
    def waste(size: int) -> int:
        return (end - 1) % size + PER_PAGE - size

    size = min(range(PER_PAGE, _SMALLEST_FIRST_PAGE, -1), key=waste)
    return RangeStart((end - 1) // size + 1, size)


def read_start(client: Cliniko, listing: Listing, start: RangeStart) -> IdPage:
    """The first page of a range; its `in_order` tells whether the server sorts as it was asked to.

    Raises ClinikoError.
    """
    page = client.get_page(listing, page=start.page, per_page=start.per_page)
    if start.page == 1 and not page.records:  # a list with nobody in it is worth a second look
        if listing is Listing.ACTIVE:  # the others are often empty
            client.pause(_LOOK_AGAIN_AFTER[0])
        page = client.get_page(listing, page=start.page, per_page=start.per_page)
    left = page.total_entries - start.offset - len(page.records)
    return _by_id(page, after=0, at_end=page.next_url is None and left <= 0)


def read_last(client: Cliniko, listing: Listing, filters: Sequence[str] = ()) -> Page:
    """The page with whoever has the highest id, alone, asked for in the opposite order.

    Raises ClinikoError.
    """
    return client.get_page(listing, per_page=1, filters=filters, sort="id:desc")


def highest_id(last: Page) -> int | None:
    """The highest id of a listing, by the page that `read_last` has read; None if it has none."""
    return max(filter(None, map(id_of, last.records)), default=None)


def goes_up(first: IdPage, last: Page) -> bool:
    """Whether a list goes up by id from its first page to its last. A server that leaves the order
    out may send one that is nearly in it, and whoever stands out of place would be lost behind the
    filter by id."""
    highest = highest_id(last)
    return first.ends or highest is None or highest > first.last_id


def read_on(client: Cliniko, part: IdRange, after: int) -> IdPage:
    """The page of a range that follows the id `after`. Raises OrderIgnored or ClinikoError."""
    filters = (*part.filters, f"id:>{after}") if after else part.filters
    page = client.get_page(part.listing, per_page=PER_PAGE, filters=filters)
    for seconds in _LOOK_AGAIN_AFTER:
        if not _looks_cut_off(page, part):
            break
        client.pause(seconds)
        page = client.get_page(part.listing, per_page=PER_PAGE, filters=filters)
    else:
        if _looks_cut_off(page, part) and _still_has_its_end(client, part):
            raise BadResponse("Cliniko left patients out of its list. Try the sync again later.")
    from_the_first = not filters  # whoever is promised there is in no other page
    if not page.records and (page.next_url is not None or (from_the_first and page.total_entries)):
        raise BadResponse("Cliniko promised more patients and sent none. Try the sync again later.")
    answer = _by_id(page, after=after, at_end=_is_end(page))
    if not answer.in_order:
        raise OrderIgnored(part.listing)
    return answer


def read_changes(client: Cliniko, part: IdRange) -> IdPage:
    """The first page of a range of what has changed. That nobody has is worth a second look: no
    later sync asks for these changes again. Raises OrderIgnored or ClinikoError."""
    page = read_on(client, part, 0)
    return page if page.records else read_on(client, part, 0)


def _is_end(page: Page) -> bool:
    return page.next_url is None and (not page.records or page.total_entries <= len(page.records))


def _looks_cut_off(page: Page, part: IdRange) -> bool:
    """What a moment's trouble there looks like: nobody, though somebody is promised, or an end
    before the patient at whom the range ends, who was seen. They may be gone, too."""
    if not page.records and (page.next_url is not None or page.total_entries):
        return True
    seen = (number for number in map(id_of, page.records) if number is not None)
    return part.until is not None and _is_end(page) and max(seen, default=0) < part.until


def _still_has_its_end(client: Cliniko, part: IdRange) -> bool:
    """Whether the patient at whom the range ends stands in its list, though no page shows them."""
    if part.until is None:
        return False
    filters = (*part.filters, f"id:={part.until}")
    page = client.get_page(part.listing, per_page=1, filters=filters)
    return part.until in map(id_of, page.records)


def walk_links(client: Cliniko, listing: Listing) -> Iterator[Page]:
    """Every page of a listing by its `next` links, and by number where one is missing before as
    many have come as were promised. Raises BadResponse if the links never end."""
    page = client.get_page(listing, per_page=PER_PAGE, sort=None)
    yield page
    number, come = 1, len(page.records)
    most = 2 * max(page.total_entries, PER_PAGE)  # some are created while the list is read
    followed: set[str] = set()
    while page.next_url is not None or (page.records and come < page.total_entries):
        number += 1
        if page.next_url is None:
            page = client.get_page(listing, page=number, per_page=PER_PAGE, sort=None)
        elif page.next_url in followed or not page.records or come > most:
            raise BadResponse("Cliniko's list of patients links back to itself. Try again later.")
        else:
            followed.add(page.next_url)
            page = client.follow(listing, page.next_url)
        come += len(page.records)
        yield page


def id_of(record: PatientRecord | Malformed) -> int | None:
    """The id of a record as a number; None where even that could not be read."""
    key = record.cliniko_patient_id
    return None if key is None else int(key)


def _by_id(page: Page, *, after: int, at_end: bool) -> IdPage:
    ids = [number for number in map(id_of, page.records) if number is not None]
    if page.records and not ids and not at_end:  # there is no telling where to go on
        raise BadResponse("Cliniko sent a page of patients without a single usable id.")
    return IdPage(
        page.records,
        page.total_entries,
        ids[0] if ids else None,
        ids[-1] if ids else after,
        ends=at_end,
        served_at=page.served_at,
        in_order=all(one <= other for one, other in pairwise([after + 1, *ids])),
    )
