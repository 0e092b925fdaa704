"""The watch over the log of every test: it finds what it is there to find."""

from __future__ import annotations

import logging
from base64 import b64encode
from urllib.parse import quote

import pytest

from tests.cast import PASSWORD, SURF_KEY
from tests.support.canaries import Search


@pytest.mark.parametrize(
    "said",
    [
        SURF_KEY,
        SURF_KEY[::-1],
        quote(PASSWORD),
        "Authorization: Basic " + b64encode(f"{SURF_KEY}:".encode()).decode(),
        b64encode(f"x{SURF_KEY}:".encode()).decode(),
        {"event": "signed_in", "password": PASSWORD},
    ],
)
def test_a_secret_in_the_log_is_found(said: object, watched_log: Search) -> None:
    logging.getLogger("anybody").error(said)
    assert len(watched_log.hits) == 1
    watched_log.hits.clear()


def test_a_secret_in_an_error_is_found(watched_log: Search) -> None:
    try:
        raise ValueError(PASSWORD)
    except ValueError:
        logging.getLogger("anybody").exception("failed")
    assert watched_log.hits
    watched_log.hits.clear()


def test_other_words_are_none(watched_log: Search) -> None:
    logging.getLogger("anybody").error("A sync of clinic 1 has failed.")
    assert watched_log.hits == []
