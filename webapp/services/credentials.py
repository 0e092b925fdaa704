"""Cliniko keys at rest: encrypted, and bound to the clinic they were saved for."""

from __future__ import annotations

import json

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from flask import current_app

from webapp.errors import CredentialsUnreadable


def encrypt(organization_id: int, api_key: str) -> str:
    """Encrypt a key with the newest encryption key; the clinic's id goes inside."""
    plain = json.dumps({"organization_id": organization_id, "api_key": api_key})
    return _cipher().encrypt(plain.encode()).decode()


def decrypt(organization_id: int, encrypted: str) -> str:
    """The key that was saved for this clinic.

    Raises CredentialsUnreadable if no configured encryption key opens it, or if it was saved for
    another clinic (a row copied by hand must not open the wrong account).
    """
    try:
        content = json.loads(_cipher().decrypt(encrypted.encode()))
    except (InvalidToken, ValueError) as error:
        raise CredentialsUnreadable(organization_id=organization_id) from error
    if content["organization_id"] != organization_id:
        raise CredentialsUnreadable(organization_id=organization_id)
    return str(content["api_key"])


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in current_app.config["CREDENTIALS_KEYS"]])
