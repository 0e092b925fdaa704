"""Services are tested without the edge."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from config import Settings
from tests.support.quick_passwords import hashes, quick_passwords  # noqa: F401  (fixtures)
from webapp import create_core


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    return create_core
