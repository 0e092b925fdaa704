"""What people see when something goes wrong"""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from sqlalchemy import create_engine

from tests.cast import Cast
from tests.pages.visitor import Visitor, text_of
from webapp.api.error_codes import STATUS
from webapp.errors import (
    AppError,
    AuditUnavailable,
    DatabaseUnavailable,
    InsufficientPermissions,
    InvalidOrganizationId,
    NotFound,
    OrganizationDisabled,
    OrganizationNotFound,
    QueueUnavailable,
    RateLimited,
    SyncNotRunning,
    ValidationError,
)
from webapp.extensions import db


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of clinics hits a mistake of ours."""

    def fail(*_: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("webapp.services.organizations.visible_to", fail)


def test_an_unknown_address_keeps_the_frame(bob: Visitor) -> None:
    answer = bob.get("/nothing")
    assert answer.status_code == 404
    assert "There is nothing here" in text_of(answer)
    assert "bob@example.com" in text_of(answer)


def test_strangers_get_the_page_without_the_navigation(visitor: Visitor, cast: Cast) -> None:
    answer = visitor.get("/nothing")
    assert answer.status_code == 404
    assert "Sign out" not in text_of(answer)


def test_a_refusal_says_whom_to_ask(vera: Visitor, cast: Cast) -> None:
    answer = vera.get(f"/clinics/{cast.surf.id}/patients")
    assert answer.status_code == 403
    assert "Ask an admin" in text_of(answer)


def test_a_wrong_method_is_told(bob: Visitor, cast: Cast) -> None:
    assert bob.get(f"/clinics/{cast.surf.id}/connection").status_code == 405


@pytest.mark.usefixtures("broken")
def test_our_own_mistake_is_owned_and_not_explained(bob: Visitor) -> None:
    answer = bob.get("/clinics")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in text_of(answer)
    assert "secret of the house" not in answer.text
    assert "Traceback" not in answer.text


EXPECTED = [
    AuditUnavailable(),
    DatabaseUnavailable(),
    InsufficientPermissions(),
    InvalidOrganizationId(),
    NotFound(),
    OrganizationDisabled(),
    OrganizationNotFound(),
    QueueUnavailable(),
    RateLimited("Too often.", retry_after=7),
    ValidationError("Not like this.", parameter="name"),
]


@pytest.mark.parametrize("error", EXPECTED, ids=lambda error: type(error).__name__)
def test_an_error_that_pages_expect_has_the_status_that_it_has_in_the_api(
    bob: Visitor, monkeypatch: pytest.MonkeyPatch, error: AppError
) -> None:
    monkeypatch.setattr("webapp.services.organizations.visible_to", Mock(side_effect=error))
    assert bob.get("/clinics").status_code == STATUS[error.error_code]


def test_an_error_that_pages_do_not_expect_is_logged_as_a_mistake_of_ours(
    bob: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error = SyncNotRunning()
    monkeypatch.setattr("webapp.services.organizations.visible_to", Mock(side_effect=error))
    assert bob.get("/clinics").status_code == 500
    assert "page_failed" in caplog.text


def test_without_a_database_the_page_of_trouble_is_drawn_all_the_same(
    bob: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(db.engines, None, create_engine("sqlite:////nowhere/at/all.db"))
    answer = bob.get("/clinics")
    assert answer.status_code == 503
    assert "has trouble just now" in text_of(answer)
    assert answer.headers["Retry-After"] == "5"
    assert "database_unavailable" in caplog.text


def test_without_a_database_what_is_refused_is_our_trouble_too(
    bob: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/clinics/{cast.surf.id}/settings/name"
    monkeypatch.setitem(db.engines, None, create_engine("sqlite:////nowhere/at/all.db"))
    for answer in (bob.client.post(path, data={"csrf_token": "old"}), bob.get("/nothing")):
        assert answer.status_code == 503
        assert "has trouble just now" in text_of(answer)


def test_htmx_gets_a_notice_and_no_page(bob: Visitor) -> None:
    answer = bob.get_fragment("/nothing")
    assert answer.status_code == 404
    assert answer.text.startswith('<p class="notice bad">')
    assert "<html" not in answer.text


def test_a_form_that_was_open_too_long_does_nothing_and_says_so(bob: Visitor, cast: Cast) -> None:
    path = f"/clinics/{cast.surf.id}/settings/name"
    for token in ("", "nonsense", "IjEi.YQ.x"):
        answer = bob.client.post(path, data={"csrf_token": token, "name": "Forged"})
        assert answer.status_code == 400
        assert "open for too long" in text_of(answer)
    assert "Forged" not in text_of(bob.get("/clinics"))


def test_a_body_that_is_too_large_is_refused(bob: Visitor, cast: Cast) -> None:
    answer = bob.post(f"/clinics/{cast.surf.id}/settings/name", name="x" * 1_100_000)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/nothing", "/clinics", "/sign-in"])
def test_every_page_is_kept_nowhere_and_says_what_it_may_load(visitor: Visitor, path: str) -> None:
    headers = visitor.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert (
        "script-src 'self' https://cdn.jsdelivr.net/npm/htmx.org@"
        in (headers["Content-Security-Policy"])
    )
