"""The form of our bearer tokens: JWT, signed with a key made of SECRET_KEY and checked strictly."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from flask import current_app

from webapp.clock import now
from webapp.errors import AuthenticationRequired

ISSUER = "patient-sync"
AUDIENCE = "patient-sync-api"
ALGORITHM = "HS256"
TYPE = "at+jwt"
MAX_LIFETIME = timedelta(days=366)
LEEWAY = timedelta(seconds=30)
MAX_LENGTH = 4096
_REQUIRED = ["exp", "iat", "nbf", "aud", "iss", "sub", "jti"]


@dataclass(frozen=True)
class Claims:
    """What a token says: whose it is and which one, and nothing of what its owner may do.

    `epoch` is the owner's at the time; raising it ends all their tokens.
    """

    user_id: int
    jti: str
    epoch: int
    expires_at: datetime


def sign(claims: Claims) -> str:
    """The token that says this, valid from now on."""
    moment = int(now().timestamp())
    (kid, key), *_ = _keys().items()
    return jwt.encode(
        {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(claims.user_id),
            "iat": moment,
            "nbf": moment,
            "exp": int(claims.expires_at.timestamp()),
            "jti": claims.jti,
            "epoch": claims.epoch,
        },
        key,
        algorithm=ALGORITHM,
        headers={"typ": TYPE, "kid": kid},
    )


def read(token: str) -> Claims:
    """What a token says. Raises AuthenticationRequired for all but tokens that we have signed."""
    if len(token) > MAX_LENGTH:
        raise AuthenticationRequired()
    try:
        # Nothing in a header chooses how it is checked: `kid` picks one of our own keys, and with
        # a `jku`, `crit` or whatever else it is no header of ours.
        header = jwt.get_unverified_header(token)
        kid = str(header.get("kid"))
        key = _keys().get(kid)
        if key is None or header != {"alg": ALGORITHM, "typ": TYPE, "kid": kid}:
            raise AuthenticationRequired()
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY,
            options={"require": _REQUIRED, "strict_aud": True, "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as error:
        raise AuthenticationRequired() from error
    too_long = claims["exp"] - claims["iat"] > MAX_LIFETIME.total_seconds()
    if too_long or not _is_plain_number(claims["sub"]) or not isinstance(claims["jti"], str):
        raise AuthenticationRequired()
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    return Claims(int(claims["sub"]), claims["jti"], claims.get("epoch", -1), expires_at)


def _keys() -> dict[str, bytes]:
    """Our keys by their ids, the newest first. Each is made for this one use: what SECRET_KEY signs
    elsewhere is no token."""
    config = current_app.config
    keys = {}
    for secret in (config["SECRET_KEY"], *config["SECRET_KEY_FALLBACKS"]):
        key = hmac.digest(secret.encode(), b"api-token", "sha256")
        keys[hashlib.sha256(key).hexdigest()[:8]] = key
    return keys


def _is_plain_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 16
