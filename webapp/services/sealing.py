"""Secrets at rest: encrypted with keys that rotate, and bound to what they are for and to whom."""

from __future__ import annotations

import json
from enum import StrEnum

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from flask import current_app

from webapp.errors import SecretUnreadable


class Purpose(StrEnum):
    """What a secret is for; stands inside the ciphertext, so none of these may be renamed."""

    CLINIKO_KEY = "cliniko_key"  # of a clinic
    WEBHOOK_SECRET = "webhook_secret"  # of a clinic
    TOTP_SECRET = "totp_secret"  # of a person
    QUERY = "query"  # of a session: what a list was asked for
    FORGOTTEN_PATIENTS = "forgotten_patients"  # of a clinic: what their ids are hashed with


def seal(purpose: Purpose, owner_id: int, secret: str) -> str:
    """A secret encrypted with the newest key; what it is for and whose it is goes inside."""
    plain = {"purpose": purpose, "owner_id": owner_id, "secret": secret}
    return MultiFernet(_keys()).encrypt(json.dumps(plain).encode()).decode()


def unseal(purpose: Purpose, owner_id: int, sealed: str) -> str:
    """The secret that was sealed for this purpose and this owner.

    Raises SecretUnreadable if no configured key opens it, or if it was sealed for something else:
    a value copied by hand to another row must not open the wrong account.
    """
    try:
        content = json.loads(MultiFernet(_keys()).decrypt(sealed.encode()))
        binding, secret = _binding(content)
    except (InvalidToken, ValueError, KeyError) as error:
        raise SecretUnreadable() from error
    if binding != (purpose, owner_id):
        raise SecretUnreadable()
    return secret


def is_newest(sealed: str) -> bool:
    """Whether a value has today's form and is encrypted with the newest key."""
    try:
        return "purpose" in json.loads(_keys()[0].decrypt(sealed.encode()))
    except (InvalidToken, ValueError):
        return False


def _binding(content: dict[str, object]) -> tuple[tuple[object, object], str]:
    """What a value is bound to, and the secret. Cliniko keys had words of their own once; they take
    today's when they are saved or rotated."""
    if "purpose" in content:
        return (content["purpose"], content["owner_id"]), str(content["secret"])
    return (Purpose.CLINIKO_KEY, content["organization_id"]), str(content["api_key"])


def _keys() -> list[Fernet]:
    return [Fernet(key) for key in current_app.config["CREDENTIALS_KEYS"]]
