"""GET /api/v1/cliniko/changes/{orgId}"""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select

from tests.api.envelope import details_of
from tests.api.rows import MORNING, record, store
from tests.cast import Cast
from webapp.extensions import db
from webapp.models import Patient
from webapp.services import changes


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/changes/{cast.surf.id}"


def ask(client: FlaskClient, url: str, query: str = "") -> dict[str, Any]:
    answer = client.get(f"{url}?{query}")
    body: dict[str, Any] = answer.get_json()
    assert answer.status_code == 200, body
    return body


def test_a_change_tells_of_whom_what_and_when_but_not_to_what(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, record(12345, "Olivia", "Nguyen"))
    log = store(cast.surf, record(12345, "Liv", "Nguyen", email="liv@example.com"))
    patient_id = db.session.scalar(select(Patient.id))

    body = ask(bob, url, "cursor=1")

    assert body == {
        "changes": [
            {
                "id": 2,
                "cliniko_patient_id": "12345",
                "patient_id": patient_id,
                "kind": "updated",
                "fields": ["first_name", "email"],
                "at": "2026-03-02T09:30:00Z",
                "sync_log_id": log.id,
            }
        ],
        "next_cursor": 2,
        "has_more": False,
    }


def test_who_goes_on_with_the_cursor_gets_everything_once(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, *(record(number, "A", "B") for number in range(1, 8)))
    found: list[str] = []
    cursor, has_more = "", True
    while has_more:
        body = ask(bob, url, f"limit=3{cursor}")
        found += [each["cliniko_patient_id"] for each in body["changes"]]
        cursor, has_more = f"&cursor={body['next_cursor']}", body["has_more"]

    assert found == [str(number) for number in range(1, 8)]
    assert ask(bob, url, f"limit=3{cursor}") == {
        "changes": [],
        "next_cursor": 7,
        "has_more": False,
    }


def test_a_clinic_without_changes_answers_with_none(bob: FlaskClient, url: str) -> None:
    assert ask(bob, url) == {"changes": [], "next_cursor": 0, "has_more": False}


def test_a_patient_whom_we_do_not_hold_any_more_has_no_id(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, record(1, "A", "B"))
    db.session.execute(delete(Patient))
    db.session.commit()

    assert ask(bob, url)["changes"][0]["patient_id"] is None


@pytest.mark.parametrize("cursor", ["0", "2"])
def test_a_cursor_from_before_what_is_kept_or_from_nowhere_is_gone(
    cursor: str, bob: FlaskClient, url: str, cast: Cast
) -> None:
    store(cast.surf, record(1, "A", "B"))
    changes.delete_old(MORNING.replace(year=2027))

    details = details_of(bob.get(f"{url}?cursor={cursor}"), 410, "CURSOR_EXPIRED")

    assert details == {"organization_id": cast.surf.id, "parameter": "cursor"}
    assert ask(bob, url)["next_cursor"] == 1


@pytest.mark.parametrize(
    "query",
    ["cursor=-1", "cursor=x", "cursor=1&cursor=2", "limit=0", "limit=x", f"cursor={10**16}"],
)
def test_what_is_no_cursor_or_limit_is_refused(query: str, bob: FlaskClient, url: str) -> None:
    name = query.partition("=")[0]
    assert details_of(bob.get(f"{url}?{query}"), 400, "VALIDATION_ERROR")["parameter"] == name


def test_a_limit_above_the_most_is_lowered(bob: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.surf, *(record(number, "A", "B") for number in range(1, 503)))

    body = ask(bob, url, "limit=9999")

    assert (len(body["changes"]), body["has_more"]) == (500, True)


def test_viewers_see_no_patients(vera: FlaskClient, url: str) -> None:
    details_of(vera.get(url), 403, "INSUFFICIENT_PERMISSIONS")


def test_charlie_never_sees_surf_rehabs(charlie: FlaskClient, url: str, cast: Cast) -> None:
    store(cast.surf, record(1, "A", "B"))

    details_of(charlie.get(url), 403, "INSUFFICIENT_PERMISSIONS")
    assert ask(charlie, f"/api/v1/cliniko/changes/{cast.northside.id}")["changes"] == []


def test_it_tells_of_its_rate(bob: FlaskClient, url: str) -> None:
    answer = bob.get(url)
    assert answer.headers["X-RateLimit-Limit"] == "120"
    assert answer.headers["X-RateLimit-Remaining"] == "119"
