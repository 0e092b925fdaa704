"""GET and POST /clinics/new"""

from __future__ import annotations

import pytest

from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.services import organizations

KEY = "MS0zLTk5OTk5LWhhcmJvdXI-uk1"


def test_it_leads_to_the_page_of_the_new_clinic(alice: Visitor) -> None:
    answer = alice.post("/clinics/new", name="Harbour Podiatry", api_key=KEY)
    page = alice.get(answer.headers["Location"])

    assert answer.status_code == 303
    assert "Harbour Podiatry was added" in text_of(page)
    assert "United Kingdom · uk1" in text_of(page)


def test_the_key_is_never_shown_again(alice: Visitor) -> None:
    path = alice.post("/clinics/new", name="Harbour Podiatry", api_key=KEY).headers["Location"]
    for shown in (alice.get(path), alice.get(f"{path}/settings"), alice.get("/clinics")):
        assert KEY not in shown.text
        assert KEY.removesuffix("-uk1") not in shown.text
    assert "••••••••vdXI" in alice.get(path).text


@pytest.mark.parametrize(
    ("name", "api_key", "field"),
    [
        ("", KEY, "name"),
        ("   ", KEY, "name"),
        ("x" * 201, KEY, "name"),
        ("bell\a", KEY, "name"),
        ("Harbour", "", "api_key"),
        ("Harbour", "   ", "api_key"),
        ("Harbour", "secret-au1.evil.example", "api_key"),
        ("Harbour", "secret-x@evil.example/", "api_key"),
        ("Harbour", "with space-au1", "api_key"),
        ("Harbour", "k" * 600 + "-au1", "api_key"),
    ],
)
def test_a_mistake_is_told_at_its_field_and_nothing_is_added(
    alice: Visitor, cast: Cast, name: str, api_key: str, field: str
) -> None:
    answer = alice.post("/clinics/new", name=name, api_key=api_key)
    form = Parsed(answer.text)

    assert answer.status_code == 422
    assert form.having(name=field)[0]["aria-invalid"] == "true"
    assert form.having(class_="error", id=f"{field}-help")
    assert form.having(name="name")[0]["value"] == name
    assert len(organizations.visible_to(cast.alice)) == 2


def test_a_refused_key_is_not_repeated(alice: Visitor) -> None:
    answer = alice.post("/clinics/new", name="Harbour", api_key="my-secret-nowhere")
    assert "my-secret-nowhere" not in answer.text
