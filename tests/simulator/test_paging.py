"""Pages, totals and links."""

from __future__ import annotations

from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from simulator import ClinikoAccount, Simulator, State
from tests.simulator.asking import Ask


def test_a_page_holds_fifty_unless_said(ask: Ask) -> None:
    page = ask.json("/patients")
    assert len(page["patients"]) == 50
    assert page["total_entries"] == 120


def test_a_page_holds_at_most_a_hundred(ask: Ask) -> None:
    assert len(ask.ids(per_page=100)) == 100
    assert len(ask.ids(per_page=500)) == 100


def test_links_lead_through_every_patient_once(account: ClinikoAccount, ask: Ask) -> None:
    walked = ask.walk(per_page=7)
    assert sorted(walked) == sorted(account.ids(State.ACTIVE))


def test_a_link_that_does_not_apply_is_absent(ask: Ask) -> None:
    links = [ask.json("/patients", {"page": page})["links"] for page in (1, 2, 3, 9)]
    assert [set(each) for each in links] == [
        {"self", "next"},
        {"self", "next", "previous"},
        {"self", "previous"},
        {"self", "previous"},
    ]


def test_a_full_last_page_has_no_next_one(ask: Ask) -> None:
    assert set(ask.json("/patients", {"per_page": 60, "page": 2})["links"]) == {"self", "previous"}


def test_an_only_page_has_no_other_links(ask: Ask) -> None:
    assert set(ask.json("/patients/archived")["links"]) == {"self"}


def test_links_keep_everything_that_was_asked(ask: Ask, cliniko: Simulator) -> None:
    asked = {"per_page": "2", "sort": "id", "order": "desc", "q[]": ["id:>5", "email:~example"]}
    links = ask.json("/patients", {**asked, "page": 3})["links"]
    for name, page in {"self": "3", "next": "4", "previous": "2"}.items():
        address = urlsplit(links[name])
        assert f"{address.scheme}://{address.netloc}{address.path}" == f"{cliniko.url}/patients"
        wanted = {key: each if isinstance(each, list) else [each] for key, each in asked.items()}
        assert parse_qs(address.query) == {**wanted, "page": [page]}
        assert ("q[]", "id:>5") in parse_qsl(address.query)


def test_a_page_past_the_end_is_empty(ask: Ask) -> None:
    page = ask.json("/patients", {"page": 4})
    assert page["patients"] == []
    assert page["total_entries"] == 120


@pytest.mark.parametrize("params", [{"page": "0"}, {"page": "x"}, {"per_page": "-1"}, {"page": ""}])
def test_it_refuses_what_is_no_page(ask: Ask, params: dict[str, str]) -> None:
    answer = ask("/patients", params)
    assert answer.status_code == 400
    assert next(iter(params)) in answer.json()["message"]


def test_an_empty_clinic_has_one_empty_page() -> None:
    account = ClinikoAccount()
    account.add_key("empty-au1")
    with Simulator(account) as cliniko:
        ask = Ask(cliniko)
        page = ask.json("/patients", key="empty-au1")
        ask.session.close()
    assert page == {
        "patients": [],
        "total_entries": 0,
        "links": {"self": f"{cliniko.url}/patients?page=1"},
    }


def test_whoever_is_archived_between_two_pages_moves_the_others_forward(
    account: ClinikoAccount, ask: Ask
) -> None:
    order = ask.walk(per_page=100)
    first = ask.ids(per_page=50)
    account.archive(first[0])
    second = ask.ids(per_page=50, page=2)
    assert order[50] not in first + second
    account.unarchive(first[0])
    assert ask.ids(per_page=50, page=2) == order[50:100]


def test_patients_change_in_the_hook_between_any_two_requests(
    account: ClinikoAccount, cliniko: Simulator, ask: Ask
) -> None:
    asked = []

    def before_request(path: str, params: dict[str, list[str]], number: int) -> None:
        asked.append((path, params.get("page"), number))
        if number == 2:
            account.delete(account.ids(State.ACTIVE)[0])

    cliniko.before_request = before_request
    totals = [ask.json("/patients", {"page": page})["total_entries"] for page in (1, 2)]
    assert totals == [120, 119]
    assert asked == [("/patients", ["1"], 1), ("/patients", ["2"], 2)]
