"""POST /clinics/<id>/connection: the button "Test connection" """

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from flask import Flask

from simulator.server import Simulator
from simulator.users import KeyState
from tests.cast import SURF_KEY, Cast
from tests.pages.visitor import Visitor, text_of
from webapp.extensions import db, transaction
from webapp.models import Organization
from webapp.services import credentials


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/connection"


@pytest.fixture
def revoked(cliniko: Simulator) -> None:
    """Somebody has revoked the key in Cliniko."""
    cliniko.accounts[0].users[0].keys[SURF_KEY] = KeyState.REVOKED


def test_a_good_key_shows_the_account_behind_it(bob: Visitor, path: str) -> None:
    answer = bob.post_fragment(path)
    words = text_of(answer)
    assert answer.status_code == 200
    assert "Connected" in words
    assert "Account Surf Rehab Active patients there 602" in words
    assert "Checked just now" in words
    assert SURF_KEY not in answer.text
    assert "<html" not in answer.text


def test_two_clinics_with_one_account_are_told_of_it_by_name_only_to_admins(
    alice: Visitor, bob: Visitor, vera: Visitor, path: str, cast: Cast
) -> None:
    bob.post_fragment(path)
    page = f"/clinics/{cast.surf.id}"
    assert "the same Cliniko account" not in text_of(alice.get(page))
    with transaction() as session:
        other = session.get_one(Organization, cast.northside.id)
        other.cliniko_id = session.get_one(Organization, cast.surf.id).cliniko_id
    said = "copies the same Cliniko account, so whoever may see its patients sees these"
    assert f"{cast.northside.name} {said}" in text_of(alice.get(page))
    assert f"Another clinic here {said}" in text_of(bob.get(page))
    assert said not in text_of(vera.get(page))


@pytest.mark.usefixtures("revoked")
def test_a_refused_key_says_what_to_do(bob: Visitor, path: str) -> None:
    words = text_of(bob.post_fragment(path))
    assert "Not connected" in words
    assert "Create a new key in Cliniko" in words


@pytest.mark.usefixtures("revoked")
def test_without_javascript_the_page_of_the_clinic_tells_it(
    bob: Visitor, path: str, cast: Cast
) -> None:
    answer = bob.post(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/clinics/{cast.surf.id}")
    words = text_of(bob.get(answer.headers["Location"]))
    assert "Create a new key in Cliniko" in words
    assert "Not connected" in words


def test_a_key_that_cannot_be_decrypted_is_no_connection_any_more(
    app: Flask, bob: Visitor, path: str, cast: Cast
) -> None:
    page, keys = path.removesuffix("/connection"), app.config["CREDENTIALS_KEYS"]
    bob.post(path)
    assert "Done: Test the connection" in text_of(bob.get(page))

    app.config["CREDENTIALS_KEYS"] = [Fernet.generate_key().decode()]
    bob.post(path)

    told, afterwards = text_of(bob.get(page)), text_of(bob.get(page))
    assert "cannot be decrypted" in told
    for words in (told, afterwards):
        assert "Cliniko connection Not connected" in words
        assert "The last try failed: CREDENTIALS_UNREADABLE." in words
        assert "To do: Test the connection" in words
    assert "Connection failed" in text_of(bob.get("/clinics"))

    app.config["CREDENTIALS_KEYS"] = keys  # restored
    bob.post(path)
    assert "Cliniko connection Connected" in text_of(bob.get(page))


def test_the_eleventh_test_in_a_minute_is_not_made(
    bob: Visitor, alice: Visitor, path: str, cast: Cast, cliniko: Simulator
) -> None:
    asked: list[str] = []
    cliniko.before_request = lambda path, _params, _number: asked.append(path)
    for _ in range(9):
        assert bob.post_fragment(path).status_code == 200
    assert bob.post(f"/clinics/{cast.surf.id}/settings/api-key", api_key="").status_code == 422
    before = len(asked)
    refused = bob.post_fragment(path)
    assert refused.status_code == 429
    assert "10 times within a minute" in text_of(refused)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    key = {"api_key": SURF_KEY}
    assert bob.post(f"/clinics/{cast.surf.id}/settings/api-key", **key).status_code == 429
    assert len(asked) == before
    assert alice.post_fragment(path).status_code == 200


def test_a_cliniko_that_is_down_is_said_to_be(bob: Visitor, path: str, cliniko: Simulator) -> None:
    cliniko.stop()
    assert "Cliniko cannot be reached" in text_of(bob.post_fragment(path))


def test_what_an_earlier_key_has_opened_tells_nothing_of_the_new_one(
    app: Flask, bob: Visitor, path: str, cast: Cast, cliniko: Simulator
) -> None:
    surf, northside_s = cast.surf.id, "MS0zLTExMTExLW5vcnRoc2lkZQ-au1"

    def save_another(path: str, _params: object, _number: int) -> None:
        if path == "/patients":
            with app.app_context(), transaction() as session:
                clinic = session.get_one(Organization, surf)
                clinic.encrypted_api_key = credentials.encrypt(surf, northside_s)

    cliniko.before_request = save_another
    assert "Not tested" in text_of(bob.post_fragment(path))

    db.session.rollback()
    assert (cast.surf.cliniko_id, cast.surf.connection_checked_at) == (None, None)
