"""Tokens that look like ours and must not be taken for ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from flask import Flask

from webapp.clock import now
from webapp.models import User
from webapp.services import tokens

Claims = dict[str, Any]


class Forge:
    """Makes tokens for one user: right ones with our secret, and wrong ones."""

    def __init__(self, good: str, key: bytes, bare_secret: bytes) -> None:
        """`good` is a token of ours, `key` what it is signed with, made of `bare_secret`."""
        claims = jwt.decode(good, options={"verify_signature": False})
        self.header = jwt.get_unverified_header(good)
        self.secret = key
        self.bare_secret = bare_secret
        self.user_id = int(claims["sub"])
        self.jti = claims["jti"]

    @classmethod
    def of(cls, app: Flask, user: User) -> Forge:
        """The forge of somebody who knows our secret key and has a token of this person."""
        good, _ = tokens.issue(user)
        secret = app.config["SECRET_KEY"].encode()
        return cls(good, hmac.digest(secret, b"api-token", "sha256"), secret)

    def claims(self, **changes: Any) -> Claims:
        """What a right token says; a value of None leaves the claim out."""
        moment = int(now().timestamp())
        claims: Claims = {
            "iss": "patient-sync",
            "aud": "patient-sync-api",
            "sub": str(self.user_id),
            "iat": moment,
            "nbf": moment,
            "exp": moment + 600,
            "jti": self.jti,
            "epoch": 0,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, header: Claims | None = None, **changes: Any) -> str:
        """A token signed with our secret; `header` and `changes` say what is wrong with it."""
        headers = self.header | (header or {})
        parts = [_part({k: v for k, v in headers.items() if v is not None})]
        parts.append(_part(self.claims(**changes)))
        return _signed(parts, self.secret, hashlib.sha256)

    def wrong_ones(self, listener: str) -> dict[str, str]:
        """Every wrong token, by what is wrong with it. `listener` is an address to be lured to."""
        moment = int(now().timestamp())
        head, body, signature = self.token().split(".")
        edited = _part(self.claims(role="admin", sub="1"))
        return {
            "empty": "",
            "garbage": "not.a.token",
            "one part": "eyJhbGciOiJIUzI1NiJ9",
            "8 kB": "a" * 8192,
            "deep header": f"{_encode(b'[' * 2000)}.{body}.{signature}",
            "signature stripped": f"{head}.{body}.",
            "signature missing": f"{head}.{body}",
            "bit flipped": f"{head}.{body}.{_flipped(signature)}",
            "payload edited": f"{head}.{edited}.{signature}",
            "other secret": _signed([head, body], b"staging" * 8, hashlib.sha256),
            "bare secret": _signed([head, body], self.bare_secret, hashlib.sha256),
            **{f"alg {alg}": f"{_part(self.header | {'alg': alg})}.{body}." for alg in _NONES},
            "HS512": self._hs512(),
            "RS256": self._asymmetric("RS256", _RSA),
            "EdDSA": self._asymmetric("EdDSA", ed25519.Ed25519PrivateKey.generate()),
            "RS256 with our secret": _signed(
                [_part(self.header | {"alg": "RS256"}), body], self.secret, hashlib.sha256
            ),
            "signed with a public key": _signed([head, body], _PUBLIC_PEM, hashlib.sha256),
            "kid missing": self.token({"kid": None}),
            "kid a number": self.token({"kid": 1}),
            "kid empty": self.token({"kid": ""}),
            "unknown kid": self.token({"kid": "2019"}),
            "kid as path": self.token({"kid": "../../dev/null"}),
            "kid as SQL": self.token({"kid": "' UNION SELECT 'secret"}),
            "jku": self.token({"jku": f"{listener}/keys"}),
            "x5u": self.token({"x5u": f"{listener}/certificate"}),
            "jwk": self.token({"jwk": {"kty": "oct", "k": _encode(b"mine" * 8)}}),
            "crit": self.token({"crit": ["exp"], "exp": 1}),
            "typ missing": self.token({"typ": None}),
            "typ JWT": self.token({"typ": "JWT"}),
            "typ of a reset": self.token({"typ": "reset+jwt"}),
            "exp missing": self.token(exp=None),
            "expired": self.token(iat=moment - 100, nbf=moment - 100, exp=moment - 31),
            "exp as text": self.token(exp="tomorrow"),
            "exp in 100 years": self.token(exp=moment + 100 * 365 * 86400),
            "exp infinite": self.token(exp=float("inf")),
            "not yet": self.token(nbf=moment + 600),
            "issued later": self.token(iat=moment + 600),
            "iat missing": self.token(iat=None),
            "nbf missing": self.token(nbf=None),
            "jti missing": self.token(jti=None),
            "jti a number": self.token(jti=1),
            "jti unknown": self.token(jti="0123456789abcdef0123456789abcdef"),
            "aud other": self.token(aud="another-api"),
            "aud list": self.token(aud=["patient-sync-api", "another-api"]),
            "aud missing": self.token(aud=None),
            "iss other": self.token(iss="another-issuer"),
            "iss prefix": self.token(iss="patient-syn"),
            "iss missing": self.token(iss=None),
            "sub a number": self.token(sub=self.user_id),
            "sub missing": self.token(sub=None),
            "sub of another": self.token(sub=str(self.user_id + 1)),
            "sub unknown": self.token(sub="999999"),
            "sub negative": self.token(sub="-1"),
            "sub huge": self.token(sub="9" * 30),
            "sub full-width": self.token(sub="\uff11"),
            "sub text": self.token(sub="alice@example.com"),
            "epoch missing": self.token(epoch=None),
            "epoch of the past": self.token(epoch=-1),
        }

    def _hs512(self) -> str:
        parts = [_part(self.header | {"alg": "HS512"}), _part(self.claims())]
        return _signed(parts, self.secret, hashlib.sha512)

    def _asymmetric(self, algorithm: str, key: Any) -> str:
        return jwt.encode(
            self.claims(), key, algorithm=algorithm, headers=self.header | {"alg": algorithm}
        )


_NONES = ("none", "None", "nOnE", "NONE")
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_PUBLIC_PEM = _RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _part(content: Claims) -> str:
    return _encode(json.dumps(content).encode())


def _signed(parts: list[str], secret: bytes, digest: Callable[..., Any]) -> str:
    text = ".".join(parts)
    return f"{text}.{_encode(hmac.new(secret, text.encode(), digest).digest())}"


def _flipped(signature: str) -> str:
    return ("B" if signature[0] == "A" else "A") + signature[1:]
