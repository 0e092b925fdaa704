"""The cases in which readers lose patients: by page number, where the list moves between two pages
and Cliniko asks to slow down in the middle; by id, where the list is hardly ever out of order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import count
from threading import Lock
from typing import Any

import pytest
from flask import Flask

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.support.empty_answers import nobody
from tests.sync.copies import copy_of, truth_of
from tests.sync.logs import certificate_of
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.listing import plan_starts
from webapp.extensions import db
from webapp.models import Organization, SyncLog
from webapp.services import organizations
from webapp.sync.lists import Lists
from webapp.sync.reader import REQUESTS_AT_ONCE

PAGES = 300
SMALL, LARGE = 602, 100 * PAGES


MakeClinic = Callable[[int], tuple[Organization, ClinikoAccount]]
RunSync = Callable[[Organization], SyncLog]


@pytest.fixture
def completed(sync_of: RunSync) -> Iterator[RunSync]:
    """Runs a whole sync, which completes."""

    def completed(organization: Organization) -> SyncLog:
        log = sync_of(organization)
        assert log.status == "completed", log.error_message
        return log

    yield completed
    db.session.rollback()


@pytest.fixture
def clinic(app: Flask, cliniko: Simulator) -> MakeClinic:
    """A clinic with so many active patients; Cliniko's minute is long enough for all of them."""
    cliniko.rate_limit = 0
    app.config["CLINIKO_RATE_LIMIT"] = 10_000

    def clinic(active: int) -> tuple[Organization, ClinikoAccount]:
        account = ClinikoAccount.generate(account_id="777", seed=7, active=active, archived=50)
        account.add_key("invented-300-au1")
        cliniko.accounts = (account,)
        return organizations.add("Large", "invented-300-au1"), account

    return clinic


@pytest.mark.parametrize(
    ("where", "size"), [("front", SMALL), ("back", SMALL), ("both", SMALL), ("both", LARGE)]
)
def test_patients_archived_between_two_pages_and_a_429_in_the_middle(
    where: str,
    size: int,
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    organization, account = clinic(size)
    pages = size // 100
    every = max(1, pages // 15)
    front, back = _ends(account.ids(State.ACTIVE))
    asked, lock = count(1), Lock()

    def archive(path: str, params: dict[str, list[str]], _number: int) -> None:
        with lock:
            catching_up = "updated_at" in str(params) or params.get("per_page") == ["1"]
            if path != "/patients" or catching_up or next(asked) % every:
                return
            account.archive(*[next(front)] * (where != "back"), *[next(back)] * (where != "front"))

    cliniko.before_request = archive
    cliniko.faults.add("rate_limited", on="/patients", nth=max(2, pages // 2), retry_after=1)

    log = completed(organization)

    assert [r.status for r in cliniko.requests].count(429) == 1
    archived = len(account.ids(State.ARCHIVED)) - 50
    assert archived >= 5
    assert copy_of(organization) == truth_of(account)
    assert certificate_of(log)["in_step"]


def test_a_list_that_is_only_nearly_in_the_order_of_ids(
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    """A server that leaves the order by id out lists by the time of creation, which comes to the
    same but for one who was entered again later."""
    organization, account = clinic(1_700)
    cliniko.faults.add("ignore_sort", on="/patients*", times=None)
    days = [date(2015, 1, 1) + timedelta(days=number) for number in range(2_000)]
    ids = account.ids(State.ACTIVE, State.ARCHIVED, State.MERGED)
    for patient, day in [*zip(ids, days, strict=False), (ids[150], days[430])]:
        account.edit(patient, created_at=f"{day}T00:00:00Z", updated_at="2021-01-01T00:00:00Z")

    completed(organization)

    assert copy_of(organization) == truth_of(account)


def test_one_answer_that_nobody_stands_at_the_end_of_a_list(
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    """Behind the last range nobody was seen yet who would be missed."""
    organization, account = clinic(1_700)
    start = plan_starts(1_700, REQUESTS_AT_ONCE)[-1]
    last_of_first_page = account.ids(State.ACTIVE)[start.offset + start.per_page - 1]
    nobody(cliniko, times=1, on="/patients", query=f"id:>{last_of_first_page}")

    completed(organization)

    assert all(fault.fitting for fault in cliniko.faults)
    assert copy_of(organization) == truth_of(account)


@pytest.mark.parametrize("list_of", ["/patients", "/patients/archived"])
def test_a_server_without_order_that_leaves_its_links_out(
    list_of: str,
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    organization, account = clinic(650)
    account.archive(*account.ids(State.ACTIVE)[:300])
    cliniko.faults.add("ignore_sort", on="/patients*", times=None)
    cliniko.faults.add("replaced_value", on=list_of, key="links", value={}, times=None)

    completed(organization)

    assert copy_of(organization) == truth_of(account)


@pytest.mark.parametrize("list_of", ["/patients", "/patients/archived"])
def test_a_first_page_that_calls_itself_the_whole_list(
    list_of: str,
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    organization, account = clinic(650)
    account.archive(*account.ids(State.ACTIVE)[:300])
    for key, value in {"links": {}, "total_entries": 100}.items():
        asked = {"on": list_of, "query": "per_page=100&page=1&"}
        cliniko.faults.add("replaced_value", key=key, value=value, times=1, **asked)

    log = completed(organization)

    assert all(fault.fitting for fault in cliniko.faults)
    assert copy_of(organization) == truth_of(account)
    assert certificate_of(log)["in_step"]


@pytest.mark.parametrize(("order", "walks"), [("by id", 1), ("none", 2)])
def test_somebody_shown_twice_in_the_place_of_another(
    order: str,
    walks: int,
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    """Without order, in two walks in a row, so that both show the same patients."""
    organization, account = clinic(350)
    if order == "none":
        cliniko.faults.add("ignore_sort", on="/patients*", times=None)
    _show_twice(cliniko, account, times=walks)

    log = completed(organization)

    assert all(fault.fitting for fault in cliniko.faults)
    assert copy_of(organization) == truth_of(account)
    assert certificate_of(log)["in_step"]


def test_somebody_whom_no_list_ever_shows_is_missed_by_number(
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    """The copy lacks them, so it must not call itself in step."""
    organization, account = clinic(350)
    _show_twice(cliniko, account, query="per_page=100&page=1&", times=None)

    log = completed(organization)

    assert log.progress["not_shown"] == 1
    assert not certificate_of(log)["in_step"]


def test_a_tombstone_that_cannot_be_read_stands_for_no_living_patient(
    clinic: MakeClinic, cliniko: Simulator, completed: RunSync
) -> None:
    """It fails, and still somebody is missing who was shown twice in another's place."""
    organization, account = clinic(350)
    account.delete(account.ids(State.ACTIVE)[-1])
    _show_twice(cliniko, account, times=1)
    _delete_unreadably(cliniko, "999999999")

    log = completed(organization)

    missing = set(account.ids(State.ACTIVE)) - set(copy_of(organization))
    assert (missing, log.records_failed, log.progress["not_shown"]) == (set(), 1, 0)
    assert _times_read_from_the_first(cliniko) == 2


def test_an_unreadable_tombstone_of_somebody_who_is_listed_hides_nobody_and_misses_nobody(
    clinic: MakeClinic, cliniko: Simulator, completed: RunSync
) -> None:
    organization, account = clinic(350)
    account.delete(account.ids(State.ACTIVE)[-1])
    _delete_unreadably(cliniko, account.ids(State.ACTIVE)[7])

    log = completed(organization)

    assert (log.records_failed, log.progress["not_shown"]) == (1, 0)
    assert _times_read_from_the_first(cliniko) == 1


@pytest.mark.parametrize("order", ["by id", "none"])
def test_a_count_that_is_wrong_for_ever_ends_no_sync_and_certifies_nothing(
    order: str,
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    organization, account = clinic(350)
    if order == "none":
        cliniko.faults.add("ignore_sort", on="/patients*", times=None)
    cliniko.faults.add("wrong_total", on="/patients", query="per_page=1&", total=360, times=None)

    log = completed(organization)

    assert copy_of(organization) == truth_of(account)
    assert log.progress["not_shown"] == 10
    assert not certificate_of(log)["in_step"]


@pytest.mark.parametrize("reason", ["no time", "a record without an id"])
def test_no_list_is_read_again_where_that_would_tell_nothing(
    reason: str,
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second reading must not make a sync fail for want of time, and it would count a record
    without an id as another one. What is missing is told all the same."""
    organization, account = clinic(350)
    on: dict[str, Any] = {"on": "/patients", "query": "per_page=100&page=1&", "times": None}
    _show_twice(cliniko, account, **on)
    if reason == "no time":
        monkeypatch.setattr("webapp.sync.passes._TIME_FOR_ONE", 0)
    else:
        cliniko.faults.add("replace_record", record={"first_name": "Nobody"}, at=60, **on)
        account.create()

    log = completed(organization)

    assert log.progress["not_shown"] == 1
    assert log.records_failed == (reason != "no time")
    assert _times_read_from_the_first(cliniko) == 1


def test_somebody_deleted_behind_the_count_is_not_missed(
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
) -> None:
    """Shown and counted as living, and told of by a tombstone on the second page of those."""
    organization, account = clinic(350)
    account.delete(*account.ids(State.ACTIVE)[:120])
    somebody = account.ids(State.ACTIVE)[-1]

    def delete(path: str, params: dict[str, list[str]], _number: int) -> None:
        first = params.get("page") == ["1"] or params.get("sort") != ["id:desc"]
        if path == "/patients/deleted" and not first and somebody in account.ids(State.ACTIVE):
            account.delete(somebody)

    cliniko.before_request = delete

    log = completed(organization)

    assert somebody not in account.ids(State.ACTIVE)
    assert log.progress["not_shown"] == 0
    assert _times_read_from_the_first(cliniko) == 1


def test_a_second_reading_that_fails_does_not_make_the_sync_fail(
    clinic: MakeClinic,
    cliniko: Simulator,
    completed: RunSync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    organization, _ = clinic(350)
    cliniko.faults.add("wrong_total", on="/patients", query="per_page=1&", total=360, times=None)

    def changes_each_time(*_: object) -> None:
        raise BadResponse("Cliniko's list of patients changed each time it was read.")

    monkeypatch.setattr(Lists, "read_again", changes_each_time)

    log = completed(organization)

    assert log.progress["not_shown"] == 10


def _show_twice(cliniko: Simulator, account: ClinikoAccount, **which: Any) -> None:
    """Answers show somebody in the place of their neighbour, too."""
    somebody = account.patient(account.ids(State.ACTIVE)[50]).record()
    asked = {"on": "/patients", "query": "per_page=100"} | which
    cliniko.faults.add("replace_record", record=somebody, at=51, **asked)


def _delete_unreadably(cliniko: Simulator, key: str) -> None:
    """Each time the first tombstone is one of this patient's that cannot be read."""
    record = {"id": key, "deleted_at": "soon"}
    asked: dict[str, Any] = {"on": "/patients/deleted", "query": "per_page=100", "times": None}
    cliniko.faults.add("replace_record", record=record, at=0, **asked)


def _times_read_from_the_first(cliniko: Simulator) -> int:
    asked = [r.params for r in cliniko.requests if r.path == "/patients"]
    return sum(params.get("page") == ["1"] for params in asked)


def _ends(ids: list[str]) -> tuple[Iterator[str], Iterator[str]]:
    """The patients from the front, and those from the back."""
    return iter(ids[: len(ids) // 2]), iter(reversed(ids[len(ids) // 2 :]))
