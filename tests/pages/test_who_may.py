"""Every page against everybody: who gets in, who is refused, and how."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.api.rows import make_log, record, store
from tests.cast import Cast
from tests.pages.visitor import Visitor, text_of
from webapp.models import SyncStatus

# What nobody has to sign in for.
OPEN = {"/healthz", "/readyz", "/metrics", "/sign-in", "/sign-out", "/static/<path:filename>"}

GETS = {
    "/clinics/{clinic}": "viewer",
    "/clinics/{clinic}/syncs": "viewer",
    "/clinics/{clinic}/syncs/{sync}": "viewer",
    "/clinics/{clinic}/syncs/{sync}/progress": "viewer",
    "/clinics/{clinic}/patients": "manager",
    "/clinics/{clinic}/patients/{patient}": "manager",
    "/clinics/{clinic}/settings": "manager",
}
POSTS = {
    "/clinics/{clinic}/syncs": 303,
    "/clinics/{clinic}/syncs/{sync}/cancel": 303,
    "/clinics/{clinic}/connection": 303,
    "/clinics/{clinic}/patients": 200,
    "/clinics/{clinic}/settings/name": 422,  # nothing was filled in
    "/clinics/{clinic}/settings/api-key": 422,
}


@pytest.fixture
def ids(cast: Cast) -> dict[str, int]:
    """A clinic, a sync and a patient of Surf Rehab."""
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    log = make_log(cast.surf, SyncStatus.FAILED)
    return {"clinic": cast.surf.id, "sync": log.id, "patient": 1}


@pytest.mark.parametrize("page", GETS)
def test_whoever_belongs_to_the_clinic_sees_what_the_role_allows(
    page: str, ids: dict[str, int], alice: Visitor, bob: Visitor, vera: Visitor
) -> None:
    path = page.format(**ids)
    assert alice.get(path).status_code == 200
    assert bob.get(path).status_code == 200
    assert vera.get(path).status_code == (200 if GETS[page] == "viewer" else 403)


@pytest.mark.parametrize("page", POSTS)
def test_a_viewer_changes_nothing_and_a_manager_does(
    page: str, ids: dict[str, int], bob: Visitor, vera: Visitor
) -> None:
    path = page.format(**ids)
    assert vera.post(path).status_code == 403
    assert bob.post(path).status_code == POSTS[page]


@pytest.mark.parametrize("page", [*GETS, *POSTS])
def test_another_clinic_looks_like_one_that_does_not_exist(
    page: str, ids: dict[str, int], charlie: Visitor
) -> None:
    ask = charlie.post if page in POSTS else charlie.get
    existing, missing = ask(page.format(**ids)), ask(page.format(**ids | {"clinic": 999}))
    assert existing.status_code == missing.status_code == 403
    assert text_of(existing) == text_of(missing)
    assert "Surf Rehab" not in existing.text


@pytest.mark.parametrize("page", GETS)
def test_an_admin_is_told_that_a_clinic_does_not_exist(
    page: str, ids: dict[str, int], alice: Visitor
) -> None:
    assert alice.get(page.format(**ids | {"clinic": 999})).status_code == 404


@pytest.mark.parametrize("clinic", ["abc", "0", "-1", "1e3", "\uff19", "99999999999999999"])
def test_what_is_no_id_is_refused(clinic: str, alice: Visitor) -> None:
    assert alice.get(f"/clinics/{clinic}").status_code == 400


def test_a_child_of_another_clinic_is_not_there(
    ids: dict[str, int], cast: Cast, alice: Visitor
) -> None:
    for page in ("syncs/{sync}", "syncs/{sync}/progress", "patients/{patient}"):
        path = f"/clinics/{cast.northside.id}/{page.format(**ids)}"
        assert alice.get(path).status_code == 404


@pytest.mark.parametrize("child", ["syncs/abc", "syncs/0", "patients/x", "patients/1e9"])
def test_a_child_with_an_impossible_id_is_not_there(child: str, cast: Cast, alice: Visitor) -> None:
    assert alice.get(f"/clinics/{cast.surf.id}/{child}").status_code == 404


def test_only_an_admin_adds_clinics(alice: Visitor, bob: Visitor, vera: Visitor) -> None:
    assert alice.get("/clinics/new").status_code == 200
    for visitor in (bob, vera):
        assert visitor.get("/clinics/new").status_code == 403
        assert visitor.post("/clinics/new", name="Mine").status_code == 403


def test_nobody_gets_in_without_signing_in(app: Flask, visitor: Visitor) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule in OPEN or rule.rule.startswith("/api/"):
            continue
        path = rule.rule
        for argument in rule.arguments:
            path = path.replace(f"<{argument}>", "1")
        ask = visitor.get if "GET" in (rule.methods or ()) else visitor.post
        answer = ask(path)
        assert answer.status_code == 303, rule
        assert answer.headers["Location"].startswith("/sign-in"), rule


def test_a_fragment_without_a_session_sends_the_whole_page_to_the_sign_in(
    visitor: Visitor, cast: Cast
) -> None:
    answer = visitor.get_fragment("/clinics/1/syncs/1/progress")
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/sign-in"
    assert answer.text == ""


def test_the_session_does_not_open_the_api(bob: Visitor, cast: Cast) -> None:
    assert bob.get(f"/api/v1/cliniko/status/{cast.surf.id}").status_code == 401


def test_what_somebody_may_not_do_is_not_offered(cast: Cast, vera: Visitor, bob: Visitor) -> None:
    path = f"/clinics/{cast.surf.id}"
    for words in ("Sync all patients", "Test connection", "Patients 0", "Settings"):
        assert words in text_of(bob.get(path))
        assert words not in text_of(vera.get(path))
    assert '<button class="btn' not in vera.get(path).text
    assert '<button class="btn' not in vera.get("/clinics").text
