"""The first run without a Cliniko."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from flask import Flask
from sqlalchemy import select

from config import DEMO_CLINIKO_KEY
from tests.cast import Cast
from webapp.errors import AppError
from webapp.extensions import db
from webapp.models import Organization, User
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


def test_a_start_that_was_broken_off_leaves_one_clinic_and_a_password_to_be_shown(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.config["DEMO"] = True
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(people, "create", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            demo.seed()

    password = demo.seed().split("password ")[1].split()[0]
    assert people.authenticate(demo.ADMIN, password) is not None
    assert [each.name for each in db.session.scalars(select(Organization))] == ["Surf Rehab"]


def test_the_demo_stays_out_of_a_real_system(cast: Cast) -> None:
    with pytest.raises(AppError):
        demo.seed()
