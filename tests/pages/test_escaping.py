"""Names come from people and from Cliniko: whatever they hold is text, on every page, in every
answer of the API, and in every file that is given out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from tests.api.rows import hold, make_log, record, refuse, store
from tests.cast import Cast
from tests.conftest import as_user
from tests.corpus import HOSTILE
from tests.pages.visitor import Parsed, Visitor
from webapp.extensions import db, transaction
from webapp.models import (
    ApiToken,
    HeldRemoval,
    Organization,
    Patient,
    SyncFailure,
    SyncLog,
    SyncStatus,
    User,
)
from webapp.services import tokens

Shape = list[tuple[str, tuple[str, ...]]]
API = "/api/v1/cliniko"


@pytest.fixture
def paths(cast: Cast) -> list[str]:
    """Every page that shows a name: of a clinic, a person, a token, a patient, a sync that
    failed, a record that did, a removal that is held."""
    store(cast.surf, record(1, "a", "b", email="c", phones=(("d", "e"),), preferred_first_name="f"))
    refused = refuse(cast.surf, 1)
    held = hold(cast.northside, 1)
    tokens.issue(cast.alice, name="of Alice")
    tokens.issue(cast.vera, name="of Vera")
    make_log(cast.surf, SyncStatus.FAILED, error_code="INTERNAL_ERROR")
    base, other = f"/clinics/{cast.surf.id}", f"/clinics/{cast.northside.id}"
    own = ["", "/patients", "/patients/1", f"/syncs/{refused.id}", "/syncs"]
    own += ["/settings", "/schedule", "/webhooks"]
    everybodys = ("/clinics", "/people", "/account", "/api-access")
    return [*everybodys, *(base + path for path in own), f"{other}/syncs/{held.id}/removals"]


def write_everywhere(text: str) -> None:
    """Put the text wherever a name, or a word of somebody else's, can stand."""
    with transaction() as session:
        session.query(Organization).update({"name": text, "cliniko_name": text})
        session.query(User).filter(User.role == "viewer").update({"email": text})
        session.query(ApiToken).update({"name": text[:100]})
        session.query(SyncLog).update({"error_message": text})
        session.query(SyncFailure).update(
            {"cliniko_patient_id": text[:40], "field": text[:40], "reason": text}
        )
        session.query(HeldRemoval).update({"deleted_at": None})
        phones = [{"type": text, "number": text}]
        session.query(Patient).update({"phones": phones, "email": text, "phone": text})
        session.query(Patient).update(
            {"first_name": text, "last_name": text, "preferred_first_name": text}
        )
    db.session.remove()


def seen(visitor: Visitor, path: str) -> Parsed:
    answer = visitor.get(path)
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    return Parsed(answer.text)


def shape_of(page: Parsed) -> Shape:
    """The tags of a page with the names of their attributes; a list may be in another order."""
    return sorted((tag, tuple(attributes)) for tag, attributes in page.tags)


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def test_whatever_is_written_is_text_on_every_page(alice: Visitor, paths: list[str]) -> None:
    write_everywhere("plain")
    plain = {path: shape_of(seen(alice, path)) for path in paths}
    wrong = []
    for text in HOSTILE:
        write_everywhere(text)
        for path in paths:
            page = seen(alice, path)
            if shape_of(page) != plain[path]:
                wrong.append((path, text, "adds a tag or an attribute"))
            # Of some fields as much is kept as their column holds.
            if path != "/account" and in_one_line(text[:40]) not in page.text:
                wrong.append((path, text, "does not stand there as it was written"))

    assert len(HOSTILE) >= 120
    assert wrong == []


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


@pytest.mark.usefixtures("paths")
def test_whatever_is_written_comes_back_whole_from_the_api(
    app: Flask, cast: Cast, redis_url: str
) -> None:
    surf = cast.surf.id
    program: FlaskClient = as_user(app, cast.alice)
    asked = [
        "/api/v1/organizations",
        *(f"{API}/{name}/{surf}" for name in ("active-patients", "sync-logs")),
    ]
    redis = Redis.from_url(redis_url)
    for text in HOSTILE:
        redis.flushdb()  # so that no limit is met
        write_everywhere(text)
        for path in asked:
            answer = program.get(path)
            assert answer.status_code == 200, path
            assert answer.content_type == "application/json"
            assert text in set(strings(answer.get_json())), (path, text)
    redis.close()


def test_what_somebody_searches_for_is_text_in_the_form(bob: Visitor, cast: Cast) -> None:
    path = f"/clinics/{cast.surf.id}/patients"
    plain = shape_of(Parsed(bob.search(path, search="plain").text))
    for text in HOSTILE:
        answer = bob.search(path, search=text[:100])
        page = Parsed(answer.text)
        (field,) = page.having(name="search")
        assert (answer.status_code, field["value"]) == (200, text[:100]), text
        assert shape_of(page) == plain, text


def test_what_cannot_be_taken_comes_back_as_text(visitor: Visitor, cast: Cast) -> None:
    plain = shape_of(Parsed(visitor.post("/sign-in", email="plain", password="x").text))
    for text in HOSTILE[:8]:  # after ten failures nobody listens
        page = Parsed(visitor.post("/sign-in", email=text, password="x", next=text).text)
        assert page.having(name="email")[0]["value"] == text
        assert page.having(name="next")[0]["value"] == text
        assert shape_of(page) == plain
