"""Where signing in leads: to a page of ours that somebody asked for, and never anywhere else."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Flask

from tests.cast import PASSWORD, Cast
from tests.corpus import HOSTILE
from tests.pages.visitor import Parsed, Visitor
from webapp.pages.sign_in import safe_next

ELSEWHERE = [
    "https://evil.example",
    "http://evil.example",
    "HTTPS://evil.example/clinics",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "http:///evil.example",
    "http:\\\\evil.example",
    "//evil.example",
    "//evil.example/clinics",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%2f/evil.example",
    "/%5cevil.example",
    "%2f%2fevil.example",
    "/%252f/evil.example",
    "/@evil.example",
    "@evil.example",
    "user@evil.example",
    "/.evil.example",
    ".evil.example",
    "evil.example",
    "localhost@evil.example",
    "http://localhost@evil.example/clinics",
    "http://localhost/clinics",
    "//localhost/clinics",
    "//google.com%00.localhost",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "/javascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:https://localhost/x",
    "/clinics\r\nSet-Cookie: session=b",
    "/clinics%0d%0aSet-Cookie:%20session=b",
    "/clinics%00",
    "/clinics\0",
    "/clinics ",
    " /clinics",
    "/clinics\u2028",
    "/clinics\uff0f1",
    "/\uff0fevil.example",
    "/\u3002evil.example",
    "/clinics/\u0661",
    "/clinics?next=//evil.example",
    "/clinics/1/patients?search=Olivia",
    "/clinics/1#x",
    "/clinics;x=1",
    "/clinics/1;jsessionid=x",
    "/clinics/1/../../evil",
    "/clinics/./1",
    "/clinics//1",
    "/clinics/",
    "/CLINICS",
    "/clinics.html",
    "/sign-in",
    "/sign-in?next=//evil.example",
    "/sign-in/code",
    "/sign-out",
    "/confirm",
    "/account/second-factor/qr.svg",
    "/invitation",
    "/csp-report",
    "/api/v1/organizations",
    "/api/docs",
    "/static/app.js",
    "/metrics",
    "/healthz",
    "/account/password",
    "/clinics/1/syncs/1/cancel",
    "/clinics/1/syncs/1/progress",
    "/people/1/deactivate",
    "/" + "a" * 10_000,
    "/clinics/" + "1/" * 5_000,
    "",
    "/",
]
PAGES = ["/clinics", "/clinics/new", "/clinics/1", "/clinics/1/patients", "/people", "/account"]


def test_pages_of_ours_are_places_to_go(app: Flask) -> None:
    with app.test_request_context():
        assert [safe_next(path) for path in PAGES] == PAGES


def test_every_whole_page_is_one(app: Flask) -> None:
    adapter = app.url_map.bind("")
    others = {"home", "confirm", "session", "second_factor_qr", "news", "progress"}
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            door, _, page = rule.endpoint.partition(".")
            if door == "pages" and "GET" in (rule.methods or ()) and page not in others:
                path = adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, "1"), "GET")
                assert safe_next(path) == path, path


def test_nothing_else_is(app: Flask) -> None:
    assert len(set(ELSEWHERE)) >= 40
    with app.test_request_context():
        assert [path for path in ELSEWHERE if safe_next(path) != "/clinics"] == []


def test_no_hostile_text_is_a_place_to_go(app: Flask) -> None:
    with app.test_request_context():
        for text in HOSTILE:
            assert safe_next(text) == safe_next(f"/{text}") == "/clinics", text


def test_of_several_the_first_counts_and_in_the_address_none(visitor: Visitor, cast: Cast) -> None:
    query = urlencode([("next", "/people"), ("next", "//evil.example")])
    form = Parsed(visitor.get(f"/sign-in?{query}").text)
    assert [field["value"] for field in form.having(name="next")] == ["/people"]

    query = urlencode({"next": "//evil.example"})
    fields = {"email": "bob@example.com", "password": PASSWORD}
    answer = visitor.post(f"/sign-in?{query}", **fields)
    assert answer.headers["Location"] == "/clinics"
