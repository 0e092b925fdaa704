"""Forms that a page of another site makes a browser send"""

from __future__ import annotations

import pytest
from flask import Flask

from tests.cast import PASSWORD, Cast
from tests.conftest import as_user
from tests.pages.visitor import Visitor, text_of
from webapp.extensions import db

OURS = "http://localhost"
CASES: list[tuple[dict[str, str], bool]] = [
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),  # typed, or from a bookmark
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "something-new"}, False),
    ({"Sec-Fetch-Site": ""}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": OURS}, False),
    ({"Sec-Fetch-Site": "same-origin", "Origin": OURS}, True),
    ({}, True),  # no browser: the token of the form is all there is
    ({"Origin": OURS}, True),
    ({"Origin": "https://localhost"}, True),  # TLS ended before us
    ({"Origin": "null"}, False),
    ({"Origin": ""}, False),
    ({"Origin": "https://evil.example"}, False),
    ({"Origin": "http://localhost:8001"}, False),
    ({"Origin": "http://localhost.evil.example"}, False),
    ({"Origin": "http://localhost@evil.example"}, False),
    ({"Origin": "http://sub.localhost"}, False),
    ({"Origin": "http://["}, False),  # no address at all
    ({"Origin": "http://℀.com".encode().decode("latin-1")}, False),
    ({"Origin": "http://localhost, https://evil.example"}, False),
]
table = pytest.mark.parametrize(("headers", "let_in"), CASES)


@table
def test_a_form_with_a_good_token_is_refused_all_the_same(
    bob: Visitor, cast: Cast, headers: dict[str, str], let_in: bool
) -> None:
    form = {"name": "Renamed", "csrf_token": bob.csrf_token()}
    path = f"/clinics/{cast.surf.id}/settings/name"
    answer = bob.client.post(path, data=form, headers=headers)
    db.session.rollback()
    assert answer.status_code == (303 if let_in else 400)
    assert cast.surf.name == ("Renamed" if let_in else "Surf Rehab")
    if not let_in:
        assert "sent by a page of another site, so nothing was done" in text_of(answer)


@table
def test_nobody_is_signed_in_or_out_by_another_site(
    visitor: Visitor, bob: Visitor, headers: dict[str, str], let_in: bool
) -> None:
    form = {"email": "bob@example.com", "password": PASSWORD, "csrf_token": visitor.csrf_token()}
    visitor.client.post("/sign-in", data=form, headers=headers)
    assert visitor.get("/clinics").status_code == (200 if let_in else 303)
    bob.client.post("/sign-out", data={"csrf_token": bob.csrf_token()}, headers=headers)
    assert bob.get("/clinics").status_code == (303 if let_in else 200)


def test_links_of_other_sites_work(bob: Visitor) -> None:
    for headers, _ in CASES:
        assert bob.get("/clinics", headers=headers).status_code == 200, headers


def test_the_api_does_not_look_at_it(app: Flask, cast: Cast) -> None:
    bob = as_user(app, cast.bob)
    path = f"/api/v1/cliniko/cancel/{cast.surf.id}"
    for headers, _ in CASES:
        assert bob.post(path, headers=headers).status_code == 409, headers
