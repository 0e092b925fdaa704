"""The first run without a Cliniko."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from config import DEMO_CLINIKO_KEY
from tests.cast import Cast
from webapp.errors import AppError
from webapp.extensions import db
from webapp.models import User
from webapp.services import credentials, demo, organizations, people


def test_the_demo_is_seeded_once_and_its_password_shown_once(app: Flask) -> None:
    app.config["DEMO"] = True
    first, second = demo.seed(), demo.seed()

    password = first.split("password ")[1].split()[0]
    assert people.authenticate(demo.ADMIN, password) is not None
    assert password not in second
    (clinic,) = organizations.visible_to(db.session.scalars(select(User)).one())
    assert clinic.name == "Surf Rehab"
    assert credentials.decrypt(clinic.id, clinic.encrypted_api_key or "") == DEMO_CLINIKO_KEY


def test_the_demo_stays_out_of_a_real_system(cast: Cast) -> None:
    with pytest.raises(AppError):
        demo.seed()
