"""Single answers of Cliniko, and a client that waits for nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import responses

from tests.cliniko.stand_ins import Watched


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    """Cliniko's answers, in the order in which they are added; the last one is given again."""
    with responses.RequestsMock() as answers:
        yield answers


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    with watched.client:
        yield watched
