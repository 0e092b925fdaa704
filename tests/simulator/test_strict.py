"""Strict refuses everything that is not documented, so that a client cannot come to rely on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator import ClinikoAccount, Simulator
from tests.simulator.asking import Ask


@pytest.fixture
def cliniko(account: ClinikoAccount) -> Iterator[Simulator]:
    with Simulator(account, strict=True) as cliniko:
        yield cliniko


def test_it_takes_what_is_documented(ask: Ask) -> None:
    ids = ask.ids(page=1, per_page=100, sort="id", order="asc", filters=["id:>1"])
    assert len(ids) == 100


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/patients", {"limit": 5}),
        ("/patients", {"per_page": 101}),
        ("/patients/archived", {"offset": 5}),
        ("/patients/deleted", {"include": "id"}),
        ("/user", {"page": 1}),
        ("/settings/public", {"x": ""}),
        ("/businesses", {"active": 1}),
    ],
)
def test_it_refuses_a_parameter_that_is_not(
    ask: Ask, cliniko: Simulator, path: str, params: dict[str, str]
) -> None:
    answer = ask(path, params)
    assert answer.status_code == 400
    assert next(iter(params)) in answer.json()["message"]
    cliniko.strict = False
    assert ask(path, params).status_code == 200


@pytest.mark.parametrize("header", ["Accept", "User-Agent"])
def test_it_refuses_a_missing_header(ask: Ask, header: str) -> None:
    answer = ask("/patients", headers={header: None})
    assert answer.status_code == 400
    assert header in answer.json()["message"]
