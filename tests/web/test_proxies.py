"""Behind proxies: who is believed, and by which names the server goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.web.conftest import Web, serving
from tests.web.wire import exchange


@pytest.fixture(scope="module")
def proxied(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The web server as it is served behind one proxy, by one name."""
    settings = {"TRUSTED_PROXIES": "1", "ALLOWED_HOSTS": "127.0.0.1"}
    with serving(tmp_path_factory.mktemp("proxied"), sqlite_template, **settings) as web:
        yield web


# gunicorn would take each of these for what a proxy on this machine says.
@pytest.mark.parametrize(
    "headers",
    [
        {"SCRIPT_NAME": "/clinics"},
        {"PATH_INFO": "/healthz"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"},
    ],
)
def test_strangers_choose_neither_path_nor_scheme(web: Web, headers: dict[str, str]) -> None:
    answer = requests.get(
        f"{web.url}/clinics/1", headers=headers, allow_redirects=False, timeout=40
    )

    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/clinics/1")


def guess(web: Web, forwarded_for: str, number: int) -> int:
    body = {"email": f"somebody{number}@example.com", "password": "a guess, and a wrong one"}
    headers = {"X-Forwarded-For": forwarded_for, "X_Forwarded_For": "192.0.2.99"}
    url = f"{web.url}/api/v1/auth/token"
    return requests.post(url, json=body, headers=headers, timeout=40).status_code


def test_the_address_that_the_proxy_has_seen_counts(proxied: Web) -> None:
    def ask(number: int) -> int:
        return guess(proxied, f"203.0.113.{number}, 198.51.100.1", number)

    with ThreadPoolExecutor(8) as threads:
        answers = Counter(threads.map(ask, range(30)))

    assert answers == {401: 20, 429: 10}
    assert guess(proxied, '"203.0.113.30, 198.51.100.1', 98) == 429
    assert guess(proxied, "198.51.100.2", 99) == 401


def test_it_goes_by_its_name_alone(proxied: Web) -> None:
    for request, status in [
        ("GET /api/v1/organizations HTTP/1.1\r\nHost: 127.0.0.1", 401),
        ("GET http://evil.example/api/v1/organizations HTTP/1.1\r\nHost: 127.0.0.1", 401),
        ("GET /api/v1/organizations HTTP/1.1\r\nHost: evil.example", 400),
        ("GET http://127.0.0.1/api/v1/organizations HTTP/1.1\r\nHost: evil.example", 400),
        ("GET /api/v1/organizations HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example", 400),
        ("GET /api/v1/organizations HTTP/1.1\r\nHost: 127.0.0.1, evil.example", 400),
        ("GET /clinics HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: 127.0.0.1", 400),
        ("GET //evil.example/clinics HTTP/1.1\r\nHost: 127.0.0.1", 404),
        ("GET /healthz HTTP/1.1\r\nHost: evil..example", 400),
    ]:
        found, answer = exchange(
            proxied.address, f"{request}\r\nConnection: close\r\n\r\n".encode()
        )
        assert found == status, request
        assert b"evil" not in answer, request
