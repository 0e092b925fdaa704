"""GET /api/v1/organizations"""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.api.envelope import details_of
from tests.cast import NORTHSIDE_KEY, SURF_KEY, Cast
from webapp.sync import suspension

URL = "/api/v1/organizations"


def test_an_admin_sees_every_clinic_by_name(alice: FlaskClient, cast: Cast) -> None:
    assert alice.get(URL).get_json() == {
        "organizations": [
            {
                "id": cast.northside.id,
                "name": "Northside Physio",
                "cliniko_id": None,
                "configured": True,
                "disabled": False,
            },
            {
                "id": cast.surf.id,
                "name": "Surf Rehab",
                "cliniko_id": None,
                "configured": True,
                "disabled": False,
            },
        ]
    }


def test_an_admin_is_told_which_clinic_is_disabled(alice: FlaskClient, cast: Cast) -> None:
    suspension.disable(cast.surf, actor=cast.alice)
    seen = alice.get(URL).get_json()["organizations"]
    assert [(each["name"], each["disabled"]) for each in seen] == [
        ("Northside Physio", False),
        ("Surf Rehab", True),
    ]


def test_others_see_the_clinic_they_belong_to(
    bob: FlaskClient, vera: FlaskClient, charlie: FlaskClient
) -> None:
    seen = [
        [each["name"] for each in client.get(URL).get_json()["organizations"]]
        for client in (bob, vera, charlie)
    ]

    assert seen == [["Surf Rehab"], ["Surf Rehab"], ["Northside Physio"]]


def test_keys_are_never_shown(alice: FlaskClient) -> None:
    body = alice.get(URL).get_data(as_text=True)

    for key in (SURF_KEY, NORTHSIDE_KEY):
        assert key not in body
        assert key.split("-")[1] not in body


def test_a_cliniko_account_is_named_by_its_id_once_it_is_known(
    bob: FlaskClient, cast: Cast
) -> None:
    bob.get(f"/api/v1/cliniko/test-connection/{cast.surf.id}")

    assert bob.get(URL).get_json()["organizations"][0]["cliniko_id"] == "12345"


def test_nobody_else_may_ask(client: FlaskClient) -> None:
    details_of(client.get(URL), 401, "AUTHENTICATION_REQUIRED")
