"""POST /auth/token: an e-mail address and a password for a bearer token."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from webapp.api.blueprints import open_to_all
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import STORABLE, STORABLE_SCHEMA, Answer, Body
from webapp.clock import now
from webapp.errors import AuthenticationRequired, ErrorCode, SecondFactorRequired
from webapp.limits import sign_in
from webapp.models import User
from webapp.services import second_factor, tokens
from webapp.services.audit import Result

_CODE = Field(
    description=(
        "Of somebody who has a second factor: the code that their phone shows, or a "
        "recovery code. Each is taken once."
    ),
    examples=["492039"],
)


class Credentials(Body):
    """Who asks for a token."""

    email: Annotated[
        str,
        Field(
            min_length=1,
            max_length=320,
            examples=["bob@example.com"],
            json_schema_extra=STORABLE_SCHEMA,
        ),
        STORABLE,
    ]
    password: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            examples=["a long password"],
            json_schema_extra=STORABLE_SCHEMA,
        ),
        STORABLE,
    ]
    code: Annotated[Annotated[str, Field(max_length=64), STORABLE] | None, _CODE] = None


class Token(Answer):
    """A token for the header `Authorization`."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: Annotated[int, Field(description="In seconds.")]


@open_to_all.post("/token")
@Endpoint(
    summary="Get a token",
    description=(
        "An e-mail address and a password for a token that is valid for an hour. Tokens with a "
        "name and a longer life are made on the page “API access” of the dashboard. Ten failures "
        "in 15 minutes for an account, or twenty for an address, are answered with 429, and so are "
        "five wrong codes in 5 minutes. A person's right password is heard 30 times a minute, "
        "sign-ins to the dashboard among them: keep a token, and do not fetch one for each call. "
        "Where a second factor is required, an admin or a manager "
        "who has none gets no token by password: they sign in to the dashboard first and set it up."
    ),
    tag="Access",
    open_to_all=True,
    body=Credentials,
    example=Token(access_token="eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.…", expires_in=3600),
    errors=(
        ErrorCode.AUTHENTICATION_REQUIRED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.CREDENTIALS_UNREADABLE,
    ),
)
def issue_token(credentials: Credentials) -> Token:
    user = sign_in.by_password(credentials.email, credentials.password)
    if user is None:
        raise AuthenticationRequired("The e-mail address or the password is wrong.")
    if second_factor.is_missing(user.role, user.second_factor_since):
        sign_in.note_awaited(user, Result.REFUSED)
        raise SecondFactorRequired()
    if user.second_factor_since is not None:
        _check_code(user, credentials.code)
    token, expires = tokens.issue(user, actor=user)
    return Token(access_token=token, expires_in=expires - int(now().timestamp()))


def _check_code(user: User, code: str | None) -> None:
    if not code:
        sign_in.note_awaited(user, Result.REFUSED)
        raise AuthenticationRequired(
            "This person has a second factor. Send `code` too: what their phone shows now, or a "
            "recovery code."
        )
    if sign_in.by_code(user, code) is None:
        raise AuthenticationRequired(
            "The code is wrong, or was used before. Take the next one that the phone shows."
        )
