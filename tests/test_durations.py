"""Durations in words."""

from __future__ import annotations

import pytest

from webapp.durations import ago_words, duration_words, remaining_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 second"),
        (0.4, "1 second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (89.4, "89 seconds"),
        (90, "2 minutes"),
        (150, "2 minutes"),
        (3500, "58 minutes"),
        (3600, "1 hour"),
        (3900, "1 hour 5 minutes"),
        (7260, "2 hours 1 minute"),
    ],
)
def test_what_remains(seconds: float, words: str) -> None:
    assert remaining_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (42.9, "42s"), (262, "4m 22s"), (3600, "1h 0m 0s"), (3862, "1h 4m 22s")],
)
def test_how_long_it_took(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (480, "8 min ago"),
        (7200, "2 h ago"),
        (400000, "4 days ago"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago_words(seconds) == words
