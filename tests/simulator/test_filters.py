"""Filters: `q[]=field:OPvalue`."""

from __future__ import annotations

import pytest

from simulator import ClinikoAccount, Simulator, State
from tests.simulator.asking import KEY, Ask

PEOPLE = {
    "1": ("Zoë", "O'Brien", "zoe@example.com", "1980-05-01", "A-1"),
    "2": ("Hamish", "O'Brien", "zoe@example.com", "1980-11-30", ""),
    "3": ("ZOË", "Ng", "", "2001-05-09", "B_1"),
    "4": ("", "100%", None, None, None),
}


@pytest.fixture
def account() -> ClinikoAccount:
    account = ClinikoAccount()
    account.add_key(KEY)
    for number, (first, last, email, birthday, old) in PEOPLE.items():
        account.create(
            id=number,
            first_name=first,
            last_name=last,
            email=email,
            date_of_birth=birthday,
            old_reference_id=old,
            created_at=f"2020-01-0{number}T00:00:00Z",
            updated_at=f"2021-01-0{number}T12:00:00Z",
        )
    return account


@pytest.mark.parametrize(
    ("filter_", "ids"),
    [
        ("id:=2", "2"),
        ("id:=1,3,77", "13"),
        ("id:!=2", "134"),
        ("id:>2", "34"),
        ("id:>=2", "234"),
        ("id:<2", "1"),
        ("id:<=2", "12"),
        ("created_at:>2020-01-02T00:00:00Z", "34"),
        ("created_at:>=2020-01-02T00:00:00Z", "234"),
        ("updated_at:<2021-01-02T12:00:00Z", "1"),
        ("updated_at:<=2021-01-02T12:00:00Z", "12"),
        ("date_of_birth:=1980-05-01", "1"),
        ("date_of_birth:>1980-05-01", "23"),
        ("date_of_birth:>=1980-05-01", "123"),
        ("date_of_birth:<2001-05-09", "12"),
        ("date_of_birth:<=2001-05-09", "123"),
        ("date_of_birth:=****-05-**", "13"),
        ("date_of_birth:=1980-*", "12"),
        ("email:=zoe@example.com", "12"),
        ("email:!=zoe@example.com", "34"),
        ("email:~example", "12"),
        ("first_name:=Zoë", "1"),
        ("first_name:~zo", "13"),
        ("first_name:=", "4"),
        ("last_name:~~o%n", "12"),
        ("last_name:~~%g", "3"),
        ("last_name:~~brien", ""),
        ("last_name:!=Ng", "124"),
        ("last_name:=100%", "4"),
        ("old_reference_id:=A-1", "1"),
        ("old_reference_id:~~%_1", "3"),
    ],
)
@pytest.mark.parametrize("sort", ["created_at", "id"])  # ids in their order take a way of their own
def test_a_filter_finds(ask: Ask, filter_: str, ids: str, sort: str) -> None:
    assert ask.ids(filters=[filter_], sort=sort) == list(ids)


@pytest.mark.parametrize("sort", ["created_at", "id"])
def test_all_filters_apply(ask: Ask, sort: str) -> None:
    assert ask.ids(filters=["id:>1", "id:<=3", "last_name:=O'Brien"], sort=sort) == ["2"]
    assert ask.ids(filters=["id:>2", "id:>1", "id:<4", "id:<=4"], sort=sort) == ["3"]
    assert ask.ids(filters=["id:>3", "id:<2"], sort=sort) == []


def test_one_filter_may_leave_out_the_brackets(ask: Ask) -> None:
    assert ask.ids(q="id:>3") == ["4"]


def test_the_total_counts_what_was_found(ask: Ask) -> None:
    page = ask.json("/patients", {"q[]": "id:>1", "per_page": 2, "sort": "id"})
    assert [each["id"] for each in page["patients"]] == ["2", "3"]
    assert page["total_entries"] == 3
    assert "next" in page["links"]


def test_a_range_of_ids_goes_on_where_it_ended_whatever_happened_before(
    account: ClinikoAccount, ask: Ask
) -> None:
    first = ask.ids(sort="id", per_page=2)
    account.archive("1")
    account.create(id=0)
    assert ask.ids(sort="id", per_page=2, filters=[f"id:>{first[-1]}"]) == ["3", "4"]
    assert ask.ids(sort="id:desc", filters=["id:<4"]) == ["3", "2", "0"]


@pytest.mark.parametrize("field", ["notes", "medicare", "archived_at", "deleted_at", "nonsense"])
def test_it_refuses_a_field_that_is_not_filterable(ask: Ask, field: str) -> None:
    answer = ask("/patients", {"q[]": f"{field}:=1"})
    assert answer.status_code == 400
    assert answer.json()["message"] == f"{field} is not filterable"


@pytest.mark.parametrize(
    "filter_",
    [
        "id:~1",
        "id:=one",
        "id:=1,",
        "id:>1.5",
        "id",
        "id:1",
        "created_at:=2020-01-02T00:00:00Z",
        "created_at:>2020-01-02",
        "updated_at:>yesterday",
        "updated_at:>2020-01-02T00:00:00+10:00",
        "date_of_birth:!=1980-05-01",
        "date_of_birth:>1980",
        "email:>a",
    ],
)
def test_it_refuses_an_operator_or_value_that_does_not_fit(ask: Ask, filter_: str) -> None:
    assert ask("/patients", {"q[]": filter_}).status_code == 400


def test_archived_patients_can_be_added_though_it_is_not_documented(
    account: ClinikoAccount, cliniko: Simulator, ask: Ask
) -> None:
    account.archive("2")
    account.delete("3")
    assert ask.found() == {"1", "4"}
    assert ask.found("archived_at:*") == {"1", "2", "4"}
    assert ask.found("archived_at:*", "id:>1") == {"2", "4"}
    assert ask("/patients/archived", {"q[]": "archived_at:*"}).status_code == 400
    cliniko.strict = True
    assert ask("/patients", {"q[]": "archived_at:*"}).status_code == 400


def test_deleted_patients_are_found_by_id_and_time_alone(account: ClinikoAccount, ask: Ask) -> None:
    account.delete("2", "3")
    deleted_at = account.patient("2").deleted_at

    def found(filter_: str) -> int:
        return int(ask.json("/patients/deleted", {"q[]": filter_})["total_entries"])

    assert found(f"deleted_at:>={deleted_at}") == 2
    assert found("deleted_at:>2999-01-01T00:00:00Z") == 0
    assert found("id:>2") == 1
    assert ask("/patients/deleted", {"q[]": "updated_at:>2020-01-02T00:00:00Z"}).status_code == 400


def test_values_that_are_no_text_are_passed_over(account: ClinikoAccount, ask: Ask) -> None:
    account.edit("1", email=5, date_of_birth=[], first_name=None)
    assert ask.found("email:~5") == set()
    assert ask.found("date_of_birth:>1900-01-01") == {"2", "3"}
    assert ask.found("first_name:=") == {"1", "4"}
    assert account.ids(State.ACTIVE) == ["1", "2", "3", "4"]
