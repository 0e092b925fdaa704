"""Services are tested without the edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from flask import Flask

from config import Settings
from tests.support.quick_passwords import hashes, quick_passwords  # noqa: F401  (fixtures)
from webapp import create_core


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    return create_core


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Time stands still unless a test moves it."""
    with time_machine.travel(datetime(2026, 3, 2, 9, 0, 10, tzinfo=UTC), tick=False) as clock:
        yield clock
