"""Bearer tokens (JWT) for programs that call the API."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import jwt
from flask import current_app

from webapp.clock import now
from webapp.errors import AuthenticationRequired
from webapp.extensions import db
from webapp.models import User

ISSUER = "patient-sync"
AUDIENCE = "patient-sync-api"
ALGORITHM = "HS256"
TYPE = "at+jwt"
LIFETIME = timedelta(hours=1)
MAX_LIFETIME = timedelta(days=366)
LEEWAY = timedelta(seconds=30)
MAX_LENGTH = 4096
_HEADER = {"alg": ALGORITHM, "typ": TYPE}
_REQUIRED = ["exp", "iat", "nbf", "aud", "iss", "sub", "jti"]


def issue(user: User, *, lifetime: timedelta = LIFETIME) -> tuple[str, int]:
    """A token for a person and the Unix time at which it ends.

    It says who asks and nothing of what they may: role and clinic are read at each request.
    """
    moment = now()
    expires = int((moment + min(lifetime, MAX_LIFETIME)).timestamp())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user.id),
        "iat": int(moment.timestamp()),
        "nbf": int(moment.timestamp()),
        "exp": expires,
        "jti": secrets.token_hex(16),
        "epoch": user.session_epoch,
    }
    token = jwt.encode(claims, _key(), algorithm=ALGORITHM, headers={"typ": TYPE})
    return token, expires


def user_of(token: str) -> User:
    """The person a token was issued to. Raises AuthenticationRequired for all but valid tokens."""
    claims = _claims(token)
    user = db.session.get(User, int(claims["sub"]))
    if user is None or not user.active or claims.get("epoch") != user.session_epoch:
        raise AuthenticationRequired()
    return user


def _claims(token: str) -> dict[str, Any]:
    if len(token) > MAX_LENGTH:
        raise AuthenticationRequired()
    try:
        decoded = jwt.decode_complete(
            token,
            _key(),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY,
            options={"require": _REQUIRED, "strict_aud": True, "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as error:
        raise AuthenticationRequired() from error
    claims: dict[str, Any] = decoded["payload"]
    # No `kid`, `jku` or the like: nothing in a header may choose how it is checked.
    if decoded["header"] != _HEADER or not _is_plain_number(claims["sub"]):
        raise AuthenticationRequired()
    if claims["exp"] - claims["iat"] > MAX_LIFETIME.total_seconds():
        raise AuthenticationRequired()
    return claims


def _is_plain_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 16


def _key() -> bytes:
    # One secret, many uses: the prefix keeps what is signed for one from being valid for another.
    return f"api-token:{current_app.config['SECRET_KEY']}".encode()
