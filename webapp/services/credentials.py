"""Cliniko keys at rest: sealed, and bound to the clinic they were saved for."""

from __future__ import annotations

from webapp.errors import CredentialsUnreadable, SecretUnreadable
from webapp.services.sealing import Purpose, seal, unseal


def encrypt(organization_id: int, api_key: str) -> str:
    """Seal a key for a clinic."""
    return seal(Purpose.CLINIKO_KEY, organization_id, api_key)


def decrypt(organization_id: int, encrypted: str) -> str:
    """The key that was saved for this clinic.

    Raises CredentialsUnreadable if no configured encryption key opens it, or if it was saved for
    another clinic.
    """
    try:
        return unseal(Purpose.CLINIKO_KEY, organization_id, encrypted)
    except SecretUnreadable as error:
        raise CredentialsUnreadable(organization_id=organization_id) from error
