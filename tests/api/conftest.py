"""The cast, each as a program that calls the API with their token."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.cast import Cast
from tests.conftest import as_user
from tests.support.quick_passwords import hashes, quick_passwords  # noqa: F401  (fixtures)


@pytest.fixture
def alice(app: Flask, cast: Cast) -> FlaskClient:
    """An admin."""
    return as_user(app, cast.alice)


@pytest.fixture
def bob(app: Flask, cast: Cast) -> FlaskClient:
    """The manager of Surf Rehab."""
    return as_user(app, cast.bob)


@pytest.fixture
def vera(app: Flask, cast: Cast) -> FlaskClient:
    """A viewer of Surf Rehab."""
    return as_user(app, cast.vera)


@pytest.fixture
def charlie(app: Flask, cast: Cast) -> FlaskClient:
    """The manager of another clinic."""
    return as_user(app, cast.charlie)
