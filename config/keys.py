"""Secret keys: read from the settings, or made in development; production refuses weak ones."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from config.reader import ConfigError, Reader, kept

_MAKE_A_SECRET = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
GUESSABLE = ("changeme", "change-me", "change_me", "default", "example", "password", "secret")


def secret_key(read: Reader, instance: Path, *, production: bool) -> str:
    """What sessions and tokens are signed with."""
    key = read.secret("SECRET_KEY")
    if key is None and not production:
        return kept(instance / "secret_key", secrets.token_urlsafe)
    if key is None:
        raise ConfigError(f"SECRET_KEY is missing; {_MAKE_A_SECRET}")
    if production and _is_guessable(key):
        raise ConfigError(f"SECRET_KEY can be guessed; {_MAKE_A_SECRET}")
    return key


def secret_key_fallbacks(read: Reader, *, production: bool) -> tuple[str, ...]:
    """Earlier secret keys: what they have signed holds until it expires."""
    keys = _listed(read.secret("SECRET_KEY_FALLBACKS") or "")
    if production and any(_is_guessable(key) for key in keys):
        raise ConfigError("A key of SECRET_KEY_FALLBACKS can be guessed; leave it out.")
    return keys


def credentials_keys(read: Reader, instance: Path, *, production: bool) -> tuple[str, ...]:
    """What secrets in the database are encrypted with, newest first."""
    value = read.secret("CREDENTIALS_KEYS")
    if value is None and production:
        make = "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"
        raise ConfigError(f"CREDENTIALS_KEYS is missing; make one with: python3 -c '{make}'")
    if value is None:
        value = kept(instance / "credentials_keys", lambda: Fernet.generate_key().decode())
    keys = _keys("CREDENTIALS_KEYS", value)
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise ConfigError(f"Key {number} of CREDENTIALS_KEYS is no Fernet key.") from None
        content = base64.urlsafe_b64decode(key)
        # Words or a few bytes over and over; of random bytes hardly any key looks like that.
        if production and (content.isascii() or len(set(content)) < 8):
            raise ConfigError(f"Key {number} of CREDENTIALS_KEYS can be guessed; make another.")
    return keys


def audit_keys(read: Reader, instance: Path, *, production: bool) -> tuple[str, ...]:
    """What the audit trail is signed with. An earlier key stays, or what it signed cannot be
    verified any more."""
    value = read.secret("AUDIT_KEYS")
    if value is None and production:
        raise ConfigError(f"AUDIT_KEYS is missing; {_MAKE_A_SECRET}")
    if value is None:
        value = kept(instance / "audit_keys", secrets.token_urlsafe)
    keys = _keys("AUDIT_KEYS", value)
    if production and any(_is_guessable(key) for key in keys):
        raise ConfigError(f"A key of AUDIT_KEYS can be guessed; {_MAKE_A_SECRET}")
    return keys


def metrics_token(read: Reader, *, production: bool) -> str | None:
    """What whoever reads the metrics must know, if anything."""
    token = read.secret("METRICS_TOKEN")
    if production and token is not None and _is_guessable(token):
        raise ConfigError(f"METRICS_TOKEN can be guessed; {_MAKE_A_SECRET}")
    return token


def _is_guessable(key: str) -> bool:
    words = any(word in key.lower() for word in GUESSABLE)
    return len(key) < 32 or len(set(key)) < 8 or words


def _listed(value: str) -> tuple[str, ...]:
    """The keys of a list; a comma too many adds none."""
    return tuple(key.strip() for key in value.split(",") if key.strip())


def _keys(name: str, value: str) -> tuple[str, ...]:
    keys = _listed(value)
    if not keys:
        raise ConfigError(f"{name} holds no key.")
    return keys
