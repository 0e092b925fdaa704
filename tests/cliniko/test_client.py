"""What is asked of Cliniko, and what its good answers become."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import responses
from responses import matchers

from config import CLINIKO_API_URL
from tests.cliniko.stand_ins import BASE, BASIC, KEY, NotingBudget, UnlimitedBudget, Watched
from webapp.cliniko.client import Account, Cliniko, Listing
from webapp.cliniko.errors import BadResponse, InvalidKey
from webapp.cliniko.records import Malformed, PatientRecord, PatientState
from webapp.cliniko.throttle import SleepingWaiter

PATIENTS = f"{BASE}/patients"
SETTINGS = f"{BASE}/settings/public"


def test_every_request_says_who_asks_and_whom_to_write_to(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(PATIENTS, json={"patients": [], "total_entries": 0})

    watched.client.get_page(Listing.ACTIVE)

    headers = answers.calls[0].request.headers
    assert headers["Authorization"] == BASIC
    assert headers["Accept"] == "application/json"
    assert headers["User-Agent"] == "Patient Sync (sync@example.com)"


@pytest.mark.parametrize("listing", list(Listing))
def test_it_asks_for_a_page_of_each_list(
    watched: Watched, answers: responses.RequestsMock, listing: Listing
) -> None:
    query = {"page": "3", "per_page": "50", "sort": "id", "q[]": ["id:>5", "updated_at:>=2026"]}
    answers.get(
        BASE + listing,
        json={"patients": [{"id": "6"}], "total_entries": 101},
        match=[matchers.query_param_matcher(query)],
    )

    page = watched.client.get_page(
        listing, page=3, per_page=50, filters=["id:>5", "updated_at:>=2026"]
    )

    assert page.total_entries == 101
    assert [record.cliniko_patient_id for record in page.records] == ["6"]


def test_operators_of_filters_are_encoded(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(PATIENTS, json={"patients": [], "total_entries": 0})

    watched.client.get_page(Listing.ACTIVE, filters=["id:>5"], sort=None)

    assert answers.calls[0].request.url == f"{PATIENTS}?per_page=100&q%5B%5D=id%3A%3E5"


def test_a_page_tells_where_the_list_goes_on_and_when_it_was_given(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(
        PATIENTS,
        json={"patients": [], "total_entries": 0, "links": {"self": "x", "next": "the next"}},
        headers={"Date": "Sun, 01 Mar 2026 12:00:00 GMT"},
    )

    page = watched.client.get_page(Listing.ACTIVE)

    assert page.next_url == "the next"
    assert page.served_at == datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("links", [None, {}, {"self": "x"}, {"next": None}])
def test_the_last_page_links_to_no_other(
    watched: Watched, answers: responses.RequestsMock, links: object
) -> None:
    answers.get(PATIENTS, json={"patients": [], "total_entries": 0, "links": links})

    assert watched.client.get_page(Listing.ACTIVE).next_url is None


def test_what_is_not_stored_is_let_go_at_once(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    patient = {
        "id": "1",
        "first_name": "Anna",
        "medicare": "canary",
        "notes": "canary",
        "patient_phone_numbers": [{"number": "5", "normalized_number": "canary"}],
        "custom_fields": {"sections": [{"name": "canary"}]},
    }
    answers.get(PATIENTS, json={"patients": [patient], "total_entries": 1})

    page = watched.client.get_page(Listing.ACTIVE)

    assert page.records == [
        PatientRecord("1", PatientState.ACTIVE, first_name="Anna", phones=(("", "5"),))
    ]


def test_half_a_character_in_one_patient_spoils_no_page(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    half = json.loads('"\\ud800"')
    patients = [
        {"id": "1", "first_name": "Anna", "notes": half},
        {"id": "2", "first_name": half},
        {"id": "3", "first_name": "Carla"},
    ]
    answers.get(PATIENTS, json={"patients": patients, "total_entries": 3, "links": {"next": "on"}})

    page = watched.client.get_page(Listing.ACTIVE)

    assert page.total_entries == 3
    assert page.next_url == "on"
    first, second, third = page.records
    assert first == PatientRecord("1", PatientState.ACTIVE, first_name="Anna")
    assert second == Malformed("2", "first_name", "holds a character that cannot be stored")
    assert third == PatientRecord("3", PatientState.ACTIVE, first_name="Carla")


def test_it_follows_a_link_within_the_list(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    link = f"{PATIENTS}?page=2&per_page=100&q%5B%5D=id%3A%3E5"
    query = {"page": "2", "per_page": "100", "q[]": "id:>5"}
    answers.get(
        PATIENTS,
        json={"patients": [], "total_entries": 0},
        match=[matchers.query_param_matcher(query)],
    )

    watched.client.follow(Listing.ACTIVE, link)

    assert answers.calls[0].request.url == link
    assert answers.calls[0].request.headers["Authorization"] == BASIC


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1/patients?page=2",
        "https://api.au1.cliniko.com/v1/patients?page=2",
        "http://api.au2.cliniko.com/v1/patients?page=2",
        "https://api.au2.cliniko.com:8443/v1/patients?page=2",
        "https://api.au2.cliniko.com:443/v1/patients?page=2",
        "https://user@api.au2.cliniko.com/v1/patients?page=2",
        "https://api.au2.cliniko.com@evil.example/v1/patients?page=2",
        "https://api.au2.cliniko.com\\@evil.example/v1/patients?page=2",
        "https://evil.example\\@api.au2.cliniko.com/v1/patients?page=2",
        "https://api.au2.cliniko.com.evil.example/v1/patients?page=2",
        "//evil.example/v1/patients?page=2",
        "/v1/patients?page=2",
        "?page=2",
        "",
        "https://api.au2.cliniko.com/v1/patients/archived?page=2",
        "https://api.au2.cliniko.com/v1/users?page=2",
        "https://api.au2.cliniko.com/v1/patients/../users?page=2",
        "https://api.au2.cliniko.com/v1/patients;x?page=2",
        "https://api.au2.cliniko.com/v1/patients%2F..?page=2",
        "https://[::1/v1/patients",
        "https://api.au2.cliniko.com\u2100/v1/patients",
        "javascript:alert(1)",
        "file:///etc/passwd",
    ],
)
def test_it_refuses_a_link_that_leads_elsewhere(
    watched: Watched, answers: responses.RequestsMock, link: str
) -> None:
    with pytest.raises(BadResponse) as error:
        watched.client.follow(Listing.ACTIVE, link)

    assert len(answers.calls) == 0
    assert watched.client.requests_made == 0
    assert "evil" not in error.value.message


def test_a_link_cannot_smuggle_a_host_in_with_white_space(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    """`urlsplit` drops tabs and line ends, other readers do not: the host is always our own."""
    answers.get(PATIENTS, json={"patients": [], "total_entries": 0})

    watched.client.follow(Listing.ACTIVE, "https://api.au2.cliniko.com\t/v1/\npatients?page=2")

    assert answers.calls[0].request.url == f"{PATIENTS}?page=2"


def test_counting_takes_one_small_request(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    query = {"per_page": "1", "sort": "id"}
    answers.get(
        PATIENTS,
        json={"patients": [{"id": "1"}], "total_entries": 648},
        match=[matchers.query_param_matcher(query)],
    )

    assert watched.client.count_active() == 648
    assert watched.client.requests_made == 1


def test_it_asks_for_one_patient(watched: Watched, answers: responses.RequestsMock) -> None:
    answers.get(f"{PATIENTS}/77", json={"id": "77", "notes": "canary"})

    assert watched.client.patient("77") == PatientRecord("77", PatientState.ACTIVE)


def test_a_patient_that_is_not_there_is_none(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(f"{PATIENTS}/77", status=404, body="no such thing")

    assert watched.client.patient("77") is None
    assert watched.client.requests_made == 1


def test_an_id_cannot_change_what_is_asked_for(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(f"{PATIENTS}/..%2Fusers%3Fpage%3D1", status=404)

    assert watched.client.patient("../users?page=1") is None


@pytest.mark.parametrize("account_id", ["12345", 12345])
def test_it_tells_whose_account_it_is(
    watched: Watched, answers: responses.RequestsMock, account_id: object
) -> None:
    account = {
        "id": account_id,
        "name": "Surf Rehab\x00\n",
        "subdomain": "surf-rehab",
        "country": "Australia",
        "time_zone": "Sydney",
    }
    answers.get(SETTINGS, json={"account": account})

    assert watched.client.account() == Account(
        id="12345",
        name="Surf Rehab",
        subdomain="surf-rehab",
        country="Australia",
        time_zone="Sydney",
        shard="au2",
    )


def test_an_account_needs_no_more_than_an_id(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(SETTINGS, json={"account": {"id": "1", "name": None, "country": ["?"]}})

    assert watched.client.account() == Account("1", "", "", "", "", "au2")


def test_the_name_of_an_account_is_not_longer_than_can_be_stored(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(SETTINGS, json={"account": {"id": "1", "name": "n" * 5000}})

    assert watched.client.account().name == "n" * 200


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"account": None},
        {"account": []},
        {"account": {}},
        {"account": {"id": None}},
        {"account": {"id": ""}},
        {"account": {"id": True}},
        {"account": {"id": 1.5}},
        {"account": {"id": "12345; x"}},
    ],
)
def test_without_an_id_nobody_knows_whose_account_it_is(
    watched: Watched, answers: responses.RequestsMock, content: object
) -> None:
    answers.get(SETTINGS, json=content)

    with pytest.raises(BadResponse):
        watched.client.account()


def test_a_key_of_impossible_form_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InvalidKey):
        Cliniko(
            "MS0x-evil.com/",
            contact_email="sync@example.com",
            budget=UnlimitedBudget(),
            waiter=SleepingWaiter(),
            api_url=CLINIKO_API_URL,
        )


def test_no_request_goes_before_the_budget_grants_it(answers: responses.RequestsMock) -> None:
    answers.get(PATIENTS, json={"patients": [], "total_entries": 0})
    budget = NotingBudget(3.5, 0.2)
    watched = Watched(budget=budget)

    with watched.client as client:
        client.get_page(Listing.ACTIVE)
        client.count_active()

    assert watched.waiter.waits == [("budget", 3.5), ("budget", 0.2)]
    assert budget.granted == client.requests_made == 2


@pytest.mark.parametrize("tell", [repr, str, lambda client: repr(vars(client))])
def test_the_client_does_not_show_its_key(watched: Watched, tell: Callable[[Cliniko], str]) -> None:
    assert KEY not in tell(watched.client)
