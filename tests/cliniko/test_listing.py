"""Ranges of ids: they cover a list without a gap, and with hardly a record read twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.cliniko.stand_ins import NotingWaiter, UnlimitedBudget
from tests.support.empty_answers import nobody
from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.listing import (
    PER_PAGE,
    IdRange,
    OrderIgnored,
    RangeStart,
    id_of,
    plan_starts,
    read_on,
    read_start,
    walk_links,
)
from webapp.cliniko.records import read_patient

KEY = "a-key-au1"


@pytest.fixture
def account() -> ClinikoAccount:
    account = ClinikoAccount.generate(active=250, archived=3, merged=0, deleted=4)
    account.add_key(KEY)
    return account


@pytest.fixture
def simulator(account: ClinikoAccount) -> Iterator[Simulator]:
    with Simulator(account) as simulator:
        yield simulator


@pytest.fixture
def waiter() -> NotingWaiter:
    return NotingWaiter()


@pytest.fixture
def client(simulator: Simulator, waiter: NotingWaiter) -> Iterator[Cliniko]:
    with Cliniko(
        KEY,
        contact_email="tests@example.com",
        budget=UnlimitedBudget(),
        waiter=waiter,
        api_url=simulator.url,
    ) as client:
        yield client


@given(st.integers(0, 300_000), st.integers(1, 16))
def test_each_range_begins_inside_the_last_page_of_the_one_before(total: int, at_most: int) -> None:
    starts = plan_starts(total, at_most)
    pages_each = ceil(ceil(total / PER_PAGE) / at_most) or 1

    assert starts[0] == RangeStart(1, PER_PAGE)
    for before, start in pairwise(starts):
        end = before.offset + before.per_page + PER_PAGE * (pages_each - 1)
        assert before.offset < start.offset < end
    last = starts[-1]
    assert last.offset + last.per_page + PER_PAGE * (pages_each - 1) >= total


@given(st.integers(1, 300_000))
def test_the_overlap_costs_next_to_nothing(total: int) -> None:
    starts = plan_starts(total, 8)
    pages_each = ceil(ceil(total / PER_PAGE) / 8)
    records = sum(start.per_page + PER_PAGE * (pages_each - 1) for start in starts[:-1])
    wasted = records - (starts[-1].offset if len(starts) > 1 else records)
    assert wasted <= 50 * len(starts)


def test_602_patients_are_seven_requests_at_once() -> None:
    assert [(start.page, start.per_page) for start in plan_starts(602, 8)] == [
        (1, 100),
        (2, 99),
        (3, 98),
        (4, 97),
        (5, 96),
        (6, 95),
        (7, 94),
    ]


def part_of_the_list(account: ClinikoAccount) -> IdRange:
    ids = [int(each) for each in account.ids(State.ACTIVE)]
    return IdRange(Listing.ACTIVE, after=ids[9], until=ids[50])


def test_a_range_is_read_to_its_end(client: Cliniko, account: ClinikoAccount) -> None:
    part, seen = IdRange(Listing.ACTIVE), []
    while not part.done:
        page = read_on(client, part, part.after)
        seen += [str(id_of(record)) for record in page.records]
        part.move_to(page)

    assert seen == account.ids(State.ACTIVE)


def test_a_range_ends_where_it_meets_the_next(client: Cliniko, account: ClinikoAccount) -> None:
    part = part_of_the_list(account)

    page = read_on(client, part, part.after)

    assert str(page.first_id) == account.ids(State.ACTIVE)[10]
    assert part.is_read_by(page)


def test_a_range_survives_being_written_down() -> None:
    part = IdRange(Listing.ARCHIVED, after=5, until=9, done=True)
    assert IdRange.from_json(part.to_json()) == part


def test_tombstones_are_walked_by_the_id_in_their_link(
    client: Cliniko, account: ClinikoAccount
) -> None:
    page = read_start(client, Listing.DELETED, RangeStart(1, PER_PAGE))

    assert [id_of(record) for record in page.records] == [
        int(each) for each in account.ids(State.DELETED)
    ]
    assert page.ends


@pytest.mark.parametrize("kind", ["ignore_id_filter", "ignore_sort"])
def test_a_server_that_keeps_to_no_order_is_found_out(
    kind: str, client: Cliniko, simulator: Simulator, account: ClinikoAccount
) -> None:
    ids = account.ids(State.ACTIVE)
    account.edit(ids[0], created_at="2030-01-01T00:00:00Z")
    simulator.faults.add(kind, times=None)

    with pytest.raises(OrderIgnored):
        read_on(client, IdRange(Listing.ACTIVE), int(ids[20]))


def test_an_empty_page_that_promises_more_is_no_end(client: Cliniko, simulator: Simulator) -> None:
    simulator.faults.add("replaced_value", key="patients", value=[], times=None)

    with pytest.raises(BadResponse):
        read_on(client, IdRange(Listing.ACTIVE), 0)


def test_links_are_followed_to_the_end(client: Cliniko, account: ClinikoAccount) -> None:
    pages = list(walk_links(client, Listing.ACTIVE))

    seen = [str(id_of(record)) for page in pages for record in page.records]
    assert len(pages) == 3
    assert sorted(seen) == sorted(account.ids(State.ACTIVE))


def test_where_a_link_is_missing_the_list_goes_on_by_number(
    client: Cliniko, account: ClinikoAccount, simulator: Simulator
) -> None:
    simulator.faults.add("replaced_value", key="links", value={}, nth=2, times=None)

    pages = list(walk_links(client, Listing.ACTIVE))

    seen = [str(id_of(record)) for page in pages for record in page.records]
    assert sorted(seen) == sorted(account.ids(State.ACTIVE))
    assert len(simulator.requests) == 3


def test_of_fewer_than_were_promised_one_more_page_is_asked_for(
    client: Cliniko, simulator: Simulator
) -> None:
    simulator.faults.add("replaced_value", key="total_entries", value=300, times=None)

    assert len(list(walk_links(client, Listing.ACTIVE))) == 4
    assert len(simulator.requests) == 4


def test_links_that_never_end_are_followed_no_further_than_twice_the_list(
    client: Cliniko, simulator: Simulator
) -> None:
    """The last page again and again, each time at another address."""

    def another(_path: str, _params: object, number: int) -> None:
        link = f"{simulator.url}/patients?per_page=100&page=3&again={number}"
        simulator.faults.clear()
        simulator.faults.add("replaced_value", key="links", value={"next": link}, times=None)

    simulator.before_request = another

    with pytest.raises(BadResponse):
        list(walk_links(client, Listing.ACTIVE))
    assert len(simulator.requests) <= 10


@pytest.mark.parametrize(
    ("record", "number"),
    [
        ({"id": "1041015461061461984"}, 1041015461061461984),
        ({"id": 7}, 7),
        ({"links": {"self": "https://api.au1.cliniko.com/v1/patients/12"}}, 12),
        ({"id": True}, None),
        ({"id": "12x"}, None),
        ({"id": None, "links": {}}, None),
        ("12", None),
    ],
)
def test_the_id_of_a_record(record: object, number: int | None) -> None:
    assert id_of(read_patient(record)) == number


def test_an_end_before_that_of_the_range_is_looked_at_again(
    client: Cliniko, simulator: Simulator, account: ClinikoAccount
) -> None:
    part = part_of_the_list(account)
    nobody(simulator, times=2)

    page = read_on(client, part, part.after)

    assert (str(page.first_id), page.ends) == (account.ids(State.ACTIVE)[10], False)


def test_a_range_may_end_early_where_everybody_behind_is_gone(
    client: Cliniko, simulator: Simulator, account: ClinikoAccount
) -> None:
    ids, part = account.ids(State.ACTIVE), part_of_the_list(account)
    account.archive(*ids[20:])

    page = read_on(client, part, part.after)

    assert [str(id_of(record)) for record in page.records] == ids[10:20]
    assert part.is_read_by(page)


def test_a_list_with_nobody_in_it_is_looked_at_again(
    client: Cliniko, simulator: Simulator, account: ClinikoAccount
) -> None:
    nobody(simulator, times=1)

    page = read_start(client, Listing.ACTIVE, RangeStart(1, PER_PAGE))

    assert page.total_entries == len(account.ids(State.ACTIVE))


def test_a_list_that_promises_somebody_and_shows_nobody_is_no_answer(
    client: Cliniko, simulator: Simulator, account: ClinikoAccount
) -> None:
    """A clinic of less than a page has no link to a next one that would give it away."""
    nobody(simulator, times=9, promised=7)

    with pytest.raises(BadResponse):
        read_on(client, IdRange(Listing.ACTIVE), 0)


def test_what_stays_empty_is_believed_after_the_third_answer(
    client: Cliniko, waiter: NotingWaiter, simulator: Simulator, account: ClinikoAccount
) -> None:
    part = part_of_the_list(account)
    nobody(simulator, times=9)

    page = read_on(client, part, part.after)

    assert (page.records, page.ends) == ([], True)
    assert len(simulator.requests) == 4
    assert waiter.waits == [("retry", 1.0), ("retry", 2.0)]


def test_whoever_is_still_there_but_on_no_page_was_left_out(
    client: Cliniko, simulator: Simulator, account: ClinikoAccount
) -> None:
    part = part_of_the_list(account)
    nobody(simulator, times=3)

    with pytest.raises(BadResponse, match="left patients out"):
        read_on(client, part, part.after)
