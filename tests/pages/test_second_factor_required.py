"""SECOND_FACTOR=required: admins and managers set one up before they reach anything else"""

from __future__ import annotations

import pytest
from flask import Flask

from tests.api.rows import make_log
from tests.cast import PASSWORD, Cast
from tests.codes import code_of, set_up
from tests.pages.visitor import Visitor, text_of
from webapp.clock import now
from webapp.extensions import db
from webapp.models import SyncStatus
from webapp.services import second_factor

PAGE = "/account/second-factor"
SETTING_UP = {PAGE, f"{PAGE}/qr.svg", f"{PAGE}/confirm", "/account/session"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SECOND_FACTOR": "required"}


def addresses(app: Flask, method: str) -> set[str]:
    """Every address for people who are signed in, of clinic 1, sync 1 and so on."""
    adapter = app.url_map.bind("")
    return {
        adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, "1"), method=method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("pages.") and method in (rule.methods or ())
    }


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_everything_else_leads_to_setting_it_up(app: Flask, cast: Cast, who: str) -> None:
    make_log(cast.surf)
    visitor = Visitor(app).signed_in(getattr(cast, who))
    token = visitor.csrf_token()
    for path in addresses(app, "GET") - SETTING_UP:
        assert visitor.get(path).headers["Location"] == PAGE, path
        fragment = visitor.get_fragment(path)
        assert (fragment.status_code, fragment.headers["HX-Redirect"]) == (401, PAGE), path
    for path in addresses(app, "POST") - SETTING_UP:
        answer = visitor.client.post(path, data={"csrf_token": token, "current": PASSWORD})
        assert answer.headers["Location"] == PAGE, path


def test_the_way_in_is_open(app: Flask, cast: Cast) -> None:
    bob = Visitor(app)
    assert bob.post("/sign-in", email=cast.bob.email, password=PASSWORD).status_code == 303
    page = bob.get("/clinics", follow_redirects=True)
    assert "Set it up, and the rest of the dashboard opens" in text_of(page)
    bob.post(PAGE, current=PASSWORD)
    assert bob.get(f"{PAGE}/qr.svg").status_code == 200
    db.session.rollback()
    pending = second_factor.pending(cast.bob)
    assert pending is not None
    assert bob.post(f"{PAGE}/confirm", code=code_of(pending.secret)).status_code == 200
    assert bob.get("/clinics").status_code == 200


def test_whoever_has_one_and_viewers_are_not_held_up(app: Flask, cast: Cast) -> None:
    set_up(cast.bob)
    for user in (cast.bob, cast.vera):
        assert Visitor(app).signed_in(user).get("/clinics").status_code == 200


def test_where_everybody_must_viewers_are_led_there_too(app: Flask, cast: Cast) -> None:
    app.config["SECOND_FACTOR"] = "everybody"
    log = make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    card = f"/clinics/{cast.surf.id}/syncs/{log.id}/progress"
    vera = Visitor(app).signed_in(cast.vera)
    assert vera.get("/clinics").headers["Location"] == PAGE
    assert vera.get_fragment(card).status_code == 401
    set_up(cast.vera)
    assert vera.signed_in(cast.vera).get("/clinics").status_code == 200


def test_one_signs_out_without_it(app: Flask, cast: Cast) -> None:
    assert Visitor(app).signed_in(cast.bob).post("/sign-out").headers["Location"] == "/sign-in"


def test_a_live_card_is_no_way_round_it(app: Flask, cast: Cast) -> None:
    log = make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    path = f"/clinics/{cast.surf.id}/syncs/{log.id}/progress"
    vera, bob = (Visitor(app).signed_in(user) for user in (cast.vera, cast.bob))
    for _ in range(2):  # the second is answered from what was drawn for the first
        assert vera.get_fragment(path).status_code == 200
        assert bob.get_fragment(path).status_code == 401
    set_up(cast.bob)
    assert bob.signed_in(cast.bob).get_fragment(path).status_code == 200


def test_who_had_it_reset_is_led_there_again(app: Flask, cast: Cast) -> None:
    set_up(cast.bob)
    second_factor.reset(cast.bob, actor=cast.alice)
    assert Visitor(app).signed_in(cast.bob).get("/clinics").headers["Location"] == PAGE
