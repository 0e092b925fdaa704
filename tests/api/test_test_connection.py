"""GET /api/v1/cliniko/test-connection/{orgId}"""

from __future__ import annotations

import pytest
import requests
import responses
from flask.testing import FlaskClient

from simulator.account import ClinikoAccount
from simulator.server import Simulator
from simulator.users import KeyState
from tests.api.envelope import details_of
from tests.cast import NORTHSIDE_KEY, SURF_KEY, Cast
from webapp.extensions import transaction
from webapp.services import credentials, organizations


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/test-connection/{cast.surf.id}"


def test_the_answer_says_whose_account_it_is_and_how_many_patients(
    bob: FlaskClient, url: str, cliniko: Simulator
) -> None:
    answer = bob.get(url)

    assert answer.status_code == 200
    assert answer.get_json() == {
        "status": "connected",
        "total_patients": 602,
        "api_version": "v1",
        "connection_test": "passed",
        "organization": {"name": "Surf Rehab", "cliniko_id": "12345"},
    }
    assert [request.path for request in cliniko.requests] == ["/settings/public", "/patients"]


def test_the_key_itself_is_never_told(
    bob: FlaskClient, url: str, surf_account: ClinikoAccount
) -> None:
    for state in (KeyState.OK, KeyState.REVOKED):
        surf_account.users[0].keys[SURF_KEY] = state
        answer = bob.get(url)
        told = answer.get_data(as_text=True) + str(answer.headers)
        assert SURF_KEY not in told
        assert SURF_KEY.partition("-")[2] not in told


@pytest.mark.parametrize(
    ("state", "status", "error_code"),
    [
        (KeyState.WRONG, 401, "CLINIKO_AUTH_FAILED"),
        (KeyState.REVOKED, 401, "CLINIKO_AUTH_FAILED"),
        (KeyState.FORBIDDEN, 403, "CLINIKO_FORBIDDEN"),
    ],
)
def test_a_key_that_cliniko_refuses(
    bob: FlaskClient,
    url: str,
    cast: Cast,
    surf_account: ClinikoAccount,
    state: KeyState,
    status: int,
    error_code: str,
) -> None:
    surf_account.users[0].keys[SURF_KEY] = state

    answer = bob.get(url)
    details = details_of(answer, status, error_code)

    assert answer.headers["X-RateLimit-Remaining"] == "9"  # Cliniko was asked: it counts
    assert details["organization_id"] == cast.surf.id
    assert details["failed_at"].endswith("Z")


def test_a_browser_is_never_made_to_ask_for_a_password(
    bob: FlaskClient, url: str, surf_account: ClinikoAccount
) -> None:
    surf_account.users[0].keys[SURF_KEY] = KeyState.REVOKED

    assert bob.get(url).headers.getlist("WWW-Authenticate") == ["Bearer"]


def test_clinikos_own_limit_says_when_to_come_back(
    bob: FlaskClient, url: str, cliniko: Simulator
) -> None:
    cliniko.rate_limit, cliniko.tells_retry_after = 1, True

    answer = bob.get(url)

    details_of(answer, 503, "CLINIKO_RATE_LIMITED")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    ("answers", "status", "error_code"),
    [
        ({"status": 500, "body": "<html>canary</html>"}, 502, "CLINIKO_UNAVAILABLE"),
        ({"status": 504}, 502, "CLINIKO_UNAVAILABLE"),
        ({"body": requests.ConnectionError("refused")}, 502, "CLINIKO_UNAVAILABLE"),
        ({"body": requests.ReadTimeout("slow")}, 504, "CLINIKO_UNAVAILABLE"),
        ({"status": 200, "body": "<html>canary</html>"}, 502, "CLINIKO_BAD_RESPONSE"),
        ({"status": 200, "body": "[]"}, 502, "CLINIKO_BAD_RESPONSE"),
        ({"status": 418, "body": "canary"}, 502, "CLINIKO_BAD_RESPONSE"),
    ],
)
def test_trouble_at_cliniko_is_told_apart_from_our_own(
    bob: FlaskClient,
    url: str,
    cliniko: Simulator,
    answers: dict[str, object],
    status: int,
    error_code: str,
) -> None:
    with responses.RequestsMock() as mock:
        mock.get(f"{cliniko.url}/settings/public", **answers)
        answer = bob.get(url)

    details_of(answer, status, error_code)
    assert "canary" not in answer.get_data(as_text=True)


def test_without_a_key_there_is_nothing_to_test(alice: FlaskClient) -> None:
    organization = organizations.add("Keyless Clinic")

    answer = alice.get(f"/api/v1/cliniko/test-connection/{organization.id}")

    details_of(answer, 401, "CLINIKO_NOT_CONFIGURED")


def test_a_key_of_another_account_is_refused(bob: FlaskClient, url: str, cast: Cast) -> None:
    assert bob.get(url).status_code == 200
    with transaction():
        cast.surf.encrypted_api_key = credentials.encrypt(cast.surf.id, NORTHSIDE_KEY)

    answer = bob.get(url)

    details_of(answer, 409, "CLINIKO_ACCOUNT_MISMATCH")
    assert "Northside" not in answer.get_data(as_text=True)


def test_a_key_that_was_encrypted_for_another_clinic_is_unreadable(
    bob: FlaskClient, url: str, cast: Cast
) -> None:
    with transaction():
        cast.surf.encrypted_api_key = cast.northside.encrypted_api_key

    details_of(bob.get(url), 500, "CREDENTIALS_UNREADABLE")
