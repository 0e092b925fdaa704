"""Rules that every template and the stylesheet keep."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from config import ROOT, Settings
from tests.pages.visitor import Parsed, Visitor
from webapp import create_app
from webapp.htmx import HTMX_CONFIG, HTMX_INTEGRITY, HTMX_URL

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))

FORBIDDEN = {
    "an inline style": r"\sstyle\s*=",
    "an inline handler": r"\son[a-z]+\s*=",
    "a handler of htmx": r"hx-on",
    "JavaScript in an attribute": r"javascript:|[\"']js:",
    "a filter in a trigger": r'hx-trigger="[^"]*\[',
    "an address in the history": r"hx-push-url|hx-replace-url|hx-boost",
    "text taken for HTML": r"\|\s*safe\b|autoescape",
    "an unquoted value": r"=\{\{",
    "an inline script": r"<script(?![^>]*\ssrc=)",
    "another server": r"(?:src|href|action)=\"(?:https?:)?//",
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_template_holds(what: str, path: Path) -> None:
    assert not re.search(FORBIDDEN[what], path.read_text()), what


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_every_form_that_changes_something_carries_its_token(path: Path) -> None:
    for form in re.findall(r'<form[^>]*method="post".*?</form>', path.read_text(), re.DOTALL):
        assert "{{ csrf() }}" in form


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_browser_fills_in_a_filter_that_the_list_beside_it_was_not_asked_with(
    path: Path,
) -> None:
    for form in re.findall(r'<form[^>]*class="filters[^>]*>', path.read_text(), re.DOTALL):
        assert 'autocomplete="off"' in form


def test_every_template_compiles(app: Flask) -> None:
    for path in TEMPLATES:
        app.jinja_env.get_template(str(path.relative_to(ROOT / "templates")))


def test_htmx_comes_from_the_cdn_unaltered_or_not_at_all(visitor: Visitor) -> None:
    answer = visitor.get("/sign-in")
    (script,) = Parsed(answer.text).having(src=HTMX_URL)
    assert script["integrity"] == HTMX_INTEGRITY
    assert script["crossorigin"] == "anonymous"
    assert "defer" in script
    assert HTMX_URL in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://files.clinic.example/htmx@4.js", " https://files.clinic.example/htmx@4.js"),
        ("/static/htmx.js", ""),
    ],
)
def test_a_clinic_can_host_htmx_itself(settings: Settings, url: str, source: str) -> None:
    answer = create_app(replace(settings, htmx_url=url)).test_client().get("/sign-in")
    (script,) = Parsed(answer.text).having(src=url)
    assert script["integrity"] == HTMX_INTEGRITY
    policy = answer.headers["Content-Security-Policy"]
    assert f"script-src 'self'{source};" in policy
    assert "jsdelivr" not in policy + answer.text


def test_htmx_is_told_to_keep_to_itself(visitor: Visitor) -> None:
    page = Parsed(visitor.get("/sign-in").text)
    (config,) = page.having(name="htmx-config")
    assert '"mode": "same-origin"' in (config["content"] or "")
    assert HTMX_CONFIG["history"] is False
    assert {"4xx", "5xx"} <= set(HTMX_CONFIG["noSwap"])


def test_the_stylesheet_loads_nothing() -> None:
    assert not re.search(r"@import|url\(", (ROOT / "static" / "app.css").read_text())
