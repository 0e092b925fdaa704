"""GET /api/v1/cliniko/active-patients/{orgId}"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from tests.api.envelope import details_of
from tests.api.rows import MORNING, record, store
from tests.cast import Cast
from webapp.cliniko.records import PatientRecord, PatientState

JOHN = record(
    12345,
    "John",
    "Doe",
    preferred_first_name="Jack",
    email="john@example.com",
    phones=(("Home", "02 5550 1000"), ("Mobile", "+61 412 345 678")),
    date_of_birth=date(1985, 3, 15),
)


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/active-patients/{cast.surf.id}"


def ask(client: FlaskClient, url: str, **query: str) -> dict[str, Any]:
    answer = client.get(f"{url}?{urlencode(query)}")
    body: dict[str, Any] = answer.get_json()
    assert answer.status_code == 200, body
    return body


def names(client: FlaskClient, url: str, **query: str) -> list[str]:
    """The first names on a page of the list."""
    return [patient["first_name"] for patient in ask(client, url, **query)["patients"]]


def test_a_patient_reads_as_in_the_reference(bob: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.surf, JOHN)

    body = bob.get(url).get_json()

    assert body["pagination"] == {"total": 1, "limit": 50, "offset": 0, "has_next": False}
    patient = body["patients"][0]
    assert isinstance(patient.pop("id"), int)
    assert patient == {
        "cliniko_patient_id": "12345",
        "first_name": "John",
        "last_name": "Doe",
        "email": "john@example.com",
        "phone": "+61 412 345 678",
        "date_of_birth": "1985-03-15",
        "last_synced": "2026-03-02T09:30:00Z",
        "sync_status": "success",
        "preferred_first_name": "Jack",
        "phones": [
            {"type": "Home", "number": "02 5550 1000"},
            {"type": "Mobile", "number": "+61 412 345 678"},
        ],
        "state": "active",
        "last_changed": "2026-03-02T09:30:00Z",
        "archived_at": None,
        "merged_at": None,
        "merged_into": None,
        "deleted_at": None,
    }


def in_every_state() -> list[PatientRecord]:
    return [
        record(1, "Active", "A"),
        record(2, "Archived", "B", state=PatientState.ARCHIVED, archived_at=MORNING),
        record(
            3,
            "Merged",
            "C",
            state=PatientState.MERGED,
            archived_at=MORNING,
            merged_at=MORNING,
            merged_into="1",
        ),
        record(4, "Deleted", "D", state=PatientState.DELETED, deleted_at=MORNING),
    ]


def test_only_active_patients_are_listed_unless_others_are_asked_for(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, *in_every_state())

    assert names(bob, url) == ["Active"]
    assert names(bob, url, state="active") == ["Active"]
    assert names(bob, url, state="archived") == ["Archived"]
    assert names(bob, url, state="merged") == ["Merged"]
    assert names(bob, url, state="deleted") == ["Deleted"]
    assert names(bob, url, state="all") == ["Active", "Archived", "Merged", "Deleted"]


def test_a_merged_patient_says_into_whom(bob: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.surf, *in_every_state())

    merged = ask(bob, url, state="merged")["patients"][0]

    assert (merged["state"], merged["merged_into"]) == ("merged", "1")
    assert merged["merged_at"] == merged["archived_at"] == "2026-03-02T09:30:00Z"


def test_a_year_has_four_digits(bob: FlaskClient, url: str, cast: Cast) -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    store(cast.surf, record(1, "Old", "Record", state=PatientState.ARCHIVED, archived_at=first))

    assert ask(bob, url, state="all")["patients"][0]["archived_at"] == "0001-01-01T00:00:00Z"


def test_the_order_is_by_last_name_first_name_and_id(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(
        cast.surf,
        record(1, "Zoe", "Abel"),
        record(2, "Ann", "Zorn"),
        record(3, "Ann", "ábel"),
        record(4, "Ann", "Zorn"),
    )

    ids = [patient["cliniko_patient_id"] for patient in ask(bob, url)["patients"]]
    assert ids == ["3", "1", "2", "4"]


def test_pages_neither_repeat_nor_drop_a_patient(bob: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.surf, *(record(n, "Same", "Name") for n in range(1, 8)))

    pages = [ask(bob, url, limit="3", offset=str(offset)) for offset in (0, 3, 6)]

    ids = [patient["cliniko_patient_id"] for page in pages for patient in page["patients"]]
    assert ids == [str(n) for n in range(1, 8)]
    assert [page["pagination"]["has_next"] for page in pages] == [True, True, False]
    assert {page["pagination"]["total"] for page in pages} == {7}


def test_pages_by_id_tell_whether_more_follow(bob: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.surf, record(1, "Zoe", "Zorn"), record(2, "Ann", "Abel"), record(3, "Bo", "Van"))

    first = ask(bob, url, after_id="0", limit="2")
    last_id = first["patients"][-1]["id"]
    second = ask(bob, url, after_id=str(last_id), limit="2")

    assert [each["first_name"] for each in first["patients"]] == ["Zoe", "Ann"]
    assert [each["first_name"] for each in second["patients"]] == ["Bo"]
    told = {"total": 3, "limit": 2, "offset": 0}
    assert first["pagination"] == told | {"has_next": True}
    assert second["pagination"] == told | {"has_next": False}
    assert names(bob, url, after_id=str(10**15)) == []


def test_an_id_of_another_clinic_is_only_a_number(bob: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.northside, record(1, "Theirs", "A"))
    store(cast.surf, record(2, "Ours", "B"))
    store(cast.northside, record(3, "Theirs", "C"))

    assert names(bob, url, after_id="0", state="all") == names(bob, url, after_id="1") == ["Ours"]


def test_a_limit_above_the_maximum_is_lowered_to_it(bob: FlaskClient, url: str) -> None:
    assert ask(bob, url, limit="501")["pagination"]["limit"] == 500


@pytest.mark.parametrize(
    "search",
    ["john", "DOE", "doe john", "jöhn", "example.com", "0412 345 678", "+61412345678", "345678"],
)
def test_a_search_finds_by_name_e_mail_and_phone(
    bob: FlaskClient, url: str, cast: Cast, search: str
) -> None:
    store(cast.surf, JOHN, record(2, "Ada", "Byron", email="ada@example.org"))

    assert names(bob, url, search=search) == ["John"]


@pytest.mark.parametrize("search", ["eap 2024-117", "2024 117", "2024-117 0412345678"])
def test_a_search_finds_by_a_name_that_holds_digits(
    bob: FlaskClient, url: str, cast: Cast, search: str
) -> None:
    store(cast.surf, JOHN, record(2, "EAP", "2024-117", phones=(("Mobile", "0412 345 678"),)))

    assert names(bob, url, search=search) == ["EAP"]


@pytest.mark.parametrize("search", ["%", "_", "\\", "' OR 1=1--", "doe ada", "678 1"])
def test_a_search_takes_every_character_as_it_is(
    bob: FlaskClient, url: str, cast: Cast, search: str
) -> None:
    store(cast.surf, JOHN, record(2, "Ada", "Byron"))

    assert names(bob, url, search=search) == []


def test_a_search_may_be_as_long_as_an_e_mail_address(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    longest = f"{'a' * 64}@{'b' * 251}.com"
    assert len(longest) == 320
    store(cast.surf, JOHN, record(2, "Ada", "Byron", email=longest))

    assert names(bob, url, search=longest) == ["Ada"]


def test_an_empty_search_finds_everybody(bob: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.surf, JOHN)

    assert names(bob, url, search="") == ["John"]


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ("2026-03-02", True),
        ("2026-03-03", False),
        ("2026-03-02T09:29:59Z", True),
        ("2026-03-02T09:29:59.999Z", True),
        ("2026-03-02T09:30:00Z", False),  # strictly later
        ("2026-03-02T09:29", True),
        ("2026-03-02T09:30", False),  # without a zone: UTC
        ("2026-03-02t09:29:59z", True),
        ("2026-03-02 09:29:59", True),
        ("2026-03-02T19:29:59+10:00", True),
        ("2026-03-02T19:30:00+10:00", False),
        ("2026-03-02T19:29:59 10:00", True),  # a + that arrived as a space
        ("2026-03-02T19:30:00 1000", False),
        ("2026-03-01T23:29:59-10:00", True),
    ],
)
def test_last_synced_after_takes_dates_and_times(
    bob: FlaskClient, url: str, cast: Cast, after: str, found: bool
) -> None:
    store(cast.surf, JOHN)

    assert names(bob, url, last_synced_after=after) == (["John"] if found else [])


def test_a_patient_that_is_only_seen_again_has_not_changed(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, JOHN)
    store(cast.surf, JOHN, seen_at=MORNING + timedelta(days=1))

    assert names(bob, url, last_synced_after="2026-03-02T10:00:00Z") == ["John"]
    assert names(bob, url, changed_after="2026-03-02T10:00:00Z") == []
    assert names(bob, url, changed_after="2026-03-02") == ["John"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("offset=-1", "offset"),
        ("offset=1000001", "offset"),
        ("after_id=0&offset=0", "offset"),
        ("after_id=-1", "after_id"),
        ("after_id=last", "after_id"),
        ("after_id=1.5", "after_id"),
        ("after_id=1000000000000001", "after_id"),
        ("after_id=1&after_id=2", "after_id"),
        ("state=missing", "state"),
        ("state=ALL", "state"),
        ("search=" + "a" * 321, "search"),
        ("search=a%00b", "search"),
        ("search=a&search=b", "search"),
        ("last_synced_after=yesterday", "last_synced_after"),
        ("last_synced_after=", "last_synced_after"),
        ("last_synced_after=2026-02-30", "last_synced_after"),
        ("last_synced_after=2026-03-02T25:00:00Z", "last_synced_after"),
        ("last_synced_after=1772443800", "last_synced_after"),
        ("last_synced_after=20260302", "last_synced_after"),
        ("last_synced_after=0000-01-01", "last_synced_after"),
        ("last_synced_after=0001-01-01T00:00%2B14:00", "last_synced_after"),
        ("last_synced_after=2026-03-02T10:00%2B99:00", "last_synced_after"),
        ("last_synced_after=2026-03-02&last_synced_after=2026-03-02", "last_synced_after"),
        ("changed_after=soon", "changed_after"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(
    bob: FlaskClient, url: str, query: str, parameter: str
) -> None:
    details = details_of(bob.get(f"{url}?{query}"), 400, "VALIDATION_ERROR")

    assert details["parameter"] == parameter


def test_nobody_sees_the_patients_of_another_clinic(bob: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.northside, JOHN)

    body = ask(bob, url, state="all", search="john")

    assert (body["patients"], body["pagination"]["total"]) == ([], 0)


def test_an_address_that_holds_no_text_is_refused(bob: FlaskClient, url: str) -> None:
    answer = bob.get(url, environ_overrides={"QUERY_STRING": "search=\xff"})

    details_of(answer, 400, "VALIDATION_ERROR")


def test_a_moment_before_every_time_zone_finds_everybody(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, JOHN, seen_at=MORNING.astimezone(UTC))

    assert names(bob, url, last_synced_after="0001-01-01") == ["John"]
