"""S38: secrets at rest are bound to their owner, and their keys rotate while the system runs."""

from __future__ import annotations

import json

import pytest
import time_machine
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import update

from tests.cast import NORTHSIDE_KEY, SURF_KEY, Cast
from tests.conftest import CREDENTIALS_KEY
from webapp.clock import now
from webapp.errors import CredentialsUnreadable, SecretUnreadable
from webapp.extensions import db, transaction
from webapp.models import Organization
from webapp.services import credentials, organizations, rotation
from webapp.services.rotation import Rotated
from webapp.services.sealing import Purpose, is_newest, seal, unseal
from webapp.services.webhooks import endpoints

NEWER = Fernet.generate_key().decode()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _stored(organization: Organization) -> str:
    db.session.rollback()
    sealed = db.session.get_one(Organization, organization.id).encrypted_api_key
    assert sealed is not None
    return sealed


def _put(organization: Organization, sealed: str) -> None:
    with transaction() as session:
        session.execute(
            update(Organization)
            .where(Organization.id == organization.id)
            .values(encrypted_api_key=sealed)
        )


def test_a_key_copied_to_another_clinic_is_refused(cast: Cast) -> None:
    _put(cast.surf, _stored(cast.northside))
    with pytest.raises(CredentialsUnreadable):
        credentials.decrypt(cast.surf.id, _stored(cast.surf))


def test_a_secret_of_one_purpose_does_not_serve_another(app: Flask) -> None:
    sealed = seal(Purpose.TOTP_SECRET, 1, "a secret")
    assert unseal(Purpose.TOTP_SECRET, 1, sealed) == "a secret"
    for purpose, owner_id in [(Purpose.WEBHOOK_SECRET, 1), (Purpose.TOTP_SECRET, 2)]:
        with pytest.raises(SecretUnreadable):
            unseal(purpose, owner_id, sealed)


@pytest.mark.parametrize("sealed", ["", "rubbish", "gAAAAA==", "é"])
def test_what_is_no_ciphertext_is_unreadable(sealed: str, app: Flask) -> None:
    with pytest.raises(SecretUnreadable):
        unseal(Purpose.CLINIKO_KEY, 1, sealed)


def test_a_key_of_the_earlier_form_is_read_and_takes_todays_form_when_rotated(cast: Cast) -> None:
    plain = json.dumps({"organization_id": cast.surf.id, "api_key": SURF_KEY})
    _put(cast.surf, Fernet(CREDENTIALS_KEY).encrypt(plain.encode()).decode())
    assert credentials.decrypt(cast.surf.id, _stored(cast.surf)) == SURF_KEY
    with pytest.raises(CredentialsUnreadable):
        credentials.decrypt(cast.northside.id, _stored(cast.surf))

    assert rotation.rotate() == Rotated(sealed=1)

    assert is_newest(_stored(cast.surf))
    assert credentials.decrypt(cast.surf.id, _stored(cast.surf)) == SURF_KEY


def test_rotating_encrypts_every_key_anew_and_does_nothing_the_second_time(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "ROWS_AT_ONCE", 2)  # so that there is more than one batch
    for number in range(3):
        organizations.add(f"Clinic {number}", NORTHSIDE_KEY)
    organizations.add("No key yet")
    app.config["CREDENTIALS_KEYS"] = [NEWER, CREDENTIALS_KEY]

    assert rotation.rotate() == Rotated(sealed=5)
    assert rotation.rotate() == Rotated()

    app.config["CREDENTIALS_KEYS"] = [NEWER]
    assert credentials.decrypt(cast.surf.id, _stored(cast.surf)) == SURF_KEY


def test_all_secrets_of_a_webhook_that_hold_are_encrypted_anew(app: Flask, cast: Cast) -> None:
    address = "https://example.com/hook"
    endpoint, secret = endpoints.add(cast.surf, address, ["sync.completed"], actor=None)
    with time_machine.travel(now(), tick=False) as clock:
        secrets = [secret]
        for _ in range(2):
            clock.shift(60)
            secrets.insert(0, endpoints.rotate(endpoint, actor=None))
        app.config["CREDENTIALS_KEYS"] = [NEWER, CREDENTIALS_KEY]
        assert rotation.rotate() == Rotated(sealed=2 + 3)
        app.config["CREDENTIALS_KEYS"] = [NEWER]
        db.session.expire_all()
        assert endpoints.secrets_of(endpoint) == secrets


def test_what_no_key_opens_stays_as_it_is_and_is_counted(app: Flask, cast: Cast) -> None:
    before = _stored(cast.surf)
    app.config["CREDENTIALS_KEYS"] = [NEWER]

    assert rotation.rotate() == Rotated(unreadable=2)

    assert _stored(cast.surf) == before
    app.config["CREDENTIALS_KEYS"] = [NEWER, CREDENTIALS_KEY]
    assert rotation.rotate() == Rotated(sealed=2)


def test_a_key_saved_while_the_rotation_reads_is_kept(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.config["CREDENTIALS_KEYS"] = [NEWER, CREDENTIALS_KEY]
    saved = seal(Purpose.CLINIKO_KEY, cast.surf.id, "another-key-au1")

    def save_between(purpose: Purpose, owner_id: int, sealed: str) -> str:
        secret = unseal(purpose, owner_id, sealed)
        if owner_id == cast.surf.id:
            db.session.connection().execute(
                update(Organization)
                .where(Organization.id == owner_id)
                .values(encrypted_api_key=saved)
            )
        return secret

    monkeypatch.setattr(rotation, "unseal", save_between)
    assert rotation.rotate() == Rotated(sealed=1)
    assert _stored(cast.surf) == saved
