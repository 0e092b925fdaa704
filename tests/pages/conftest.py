"""The cast, each at a browser and signed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import time_machine
from flask import Flask

from tests.cast import Cast
from tests.pages.visitor import Visitor
from tests.support.quick_passwords import hashes, quick_passwords  # noqa: F401  (fixtures)
from webapp.clock import now


@pytest.fixture
def clock(cast: Cast) -> Iterator[time_machine.Traveller]:
    """A clock that only we move; who is named after it signs in after it was stopped."""
    with time_machine.travel(now(), tick=False) as clock:
        yield clock


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """Somebody who has not signed in."""
    return Visitor(app)


@pytest.fixture
def alice(app: Flask, cast: Cast) -> Visitor:
    """An admin."""
    return Visitor(app).signed_in(cast.alice)


@pytest.fixture
def bob(app: Flask, cast: Cast) -> Visitor:
    """The manager of Surf Rehab."""
    return Visitor(app).signed_in(cast.bob)


@pytest.fixture
def vera(app: Flask, cast: Cast) -> Visitor:
    """A viewer of Surf Rehab."""
    return Visitor(app).signed_in(cast.vera)


@pytest.fixture
def charlie(app: Flask, cast: Cast) -> Visitor:
    """The manager of another clinic."""
    return Visitor(app).signed_in(cast.charlie)
