"""GET and POST /api-access: tokens are made, shown once, listed and revoked."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.databases import on_both
from webapp.extensions import db
from webapp.models import ApiToken, User
from webapp.services import tokens

PATH = "/api-access"


def made(page: str) -> str:
    found = re.search(r"<textarea[^>]*>([^<]+)</textarea>", page)
    assert found is not None
    return found[1]


def own(user: User) -> list[ApiToken]:
    db.session.rollback()  # see what the requests have written
    return tokens.of(user)


def opens(visitor: Visitor, token: str) -> bool:
    """Whether a program gets in with it, for whom the visitor's session counts nothing."""
    headers = {"Authorization": f"Bearer {token}"}
    return visitor.get("/api/v1/organizations", headers=headers).status_code == 200


def test_without_a_token_it_says_what_to_do(vera: Visitor) -> None:
    assert "No tokens yet" in text_of(vera.get(PATH))


def test_a_new_token_is_shown_once_and_opens_the_api(vera: Visitor, visitor: Visitor) -> None:
    page = vera.post(PATH, name="Nightly report", days="30")

    token = made(page.text)
    assert page.status_code == 200
    assert "it will not be shown again" in text_of(page)
    assert opens(visitor, token)
    later = vera.get(PATH)
    assert token not in later.text
    assert "Nightly report Active" in text_of(later)


def test_it_tells_when_a_token_was_last_used(bob: Visitor, visitor: Visitor) -> None:
    token = made(bob.post(PATH, name="Report", days="1").text)
    assert "Never" in text_of(bob.get(PATH))

    opens(visitor, token)

    assert "Never" not in text_of(bob.get(PATH))


def test_a_revoked_token_opens_nothing(bob: Visitor, cast: Cast, visitor: Visitor) -> None:
    token = made(bob.post(PATH, name="Report", days="90").text)
    (row,) = own(cast.bob)

    answer = bob.post(f"{PATH}/{row.id}/revoke")

    assert (answer.status_code, answer.headers["Location"]) == (303, PATH)
    assert "Report Revoked" in text_of(bob.get(PATH))
    assert not opens(visitor, token)


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ({"name": "", "days": "1"}, "name"),
        ({"name": "x" * 101, "days": "1"}, "name"),
        ({"name": "Taken", "days": "1"}, "name"),
        ({"name": "Report", "days": "5000"}, "days"),
        ({"name": "Report"}, "days"),
    ],
)
def test_what_cannot_be_is_told_at_its_field(
    bob: Visitor, cast: Cast, fields: dict[str, str], culprit: str
) -> None:
    tokens.issue(cast.bob, name="Taken")

    answer = bob.post(PATH, **fields)

    assert answer.status_code == 422
    assert Parsed(answer.text).having(name=culprit)[0]["aria-invalid"] == "true"
    assert len(own(cast.bob)) == 1


def test_people_see_and_revoke_their_own_tokens_alone(
    bob: Visitor, charlie: Visitor, vera: Visitor, cast: Cast
) -> None:
    tokens.issue(cast.bob, name="Report of Bob")
    (row,) = own(cast.bob)

    for other in (charlie, vera):
        assert "Report of Bob" not in other.get(PATH).text
        assert "Tokens of other people" not in other.get(PATH).text
        assert other.post(f"{PATH}/{row.id}/revoke").status_code == 404
    assert own(cast.bob)[0].state == "active"


def test_an_admin_sees_and_revokes_those_of_others(alice: Visitor, cast: Cast) -> None:
    tokens.issue(cast.bob, name="Report of Bob")
    (row,) = own(cast.bob)
    assert "bob@example.com Report of Bob" in text_of(alice.get(PATH))

    alice.post(f"{PATH}/{row.id}/revoke")

    assert own(cast.bob)[0].state == "revoked"
    assert "Nobody else has a token." in text_of(alice.get(PATH))


@pytest.mark.parametrize("token_id", ["0", "abc", "999", "1e3"])
def test_a_token_that_is_none_is_not_there(alice: Visitor, token_id: str) -> None:
    assert alice.post(f"{PATH}/{token_id}/revoke").status_code == 404


def test_a_name_is_text_whatever_it_holds(bob: Visitor) -> None:
    page = bob.post(PATH, name="<script>alert(1)</script>", days="1")

    assert "<script>alert" not in page.text
    assert "<script>alert(1)</script>" in text_of(page)


def test_more_than_a_hundred_are_cut_off_and_it_says_so(bob: Visitor, cast: Cast) -> None:
    tokens.issue(cast.bob, name="Report")
    for _ in range(100):
        tokens.issue(cast.bob)

    page = text_of(bob.get(PATH))

    assert "The newest 100 are shown, those with a name first." in page
    assert "Report Active" in page


@on_both
def test_none_that_lasts_is_lost_behind_a_hundred_of_an_hour(alice: Visitor, cast: Cast) -> None:
    tokens.issue(cast.bob, name="Report of Bob", lifetime=timedelta(days=365))
    tokens.issue(cast.charlie, lifetime=timedelta(days=365))
    for _ in range(100):
        tokens.issue(cast.vera)

    page = text_of(alice.get(PATH))

    assert "100 are shown, those with a name first, then those that live longest." in page
    assert "bob@example.com Report of Bob" in page
    assert "charlie@example.com Got with e-mail and password" in page
