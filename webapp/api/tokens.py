"""POST /auth/token: an e-mail address and a password for a bearer token."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from webapp.api.blueprints import open_to_all
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import STORABLE, STORABLE_SCHEMA, Answer, Body
from webapp.clock import now
from webapp.errors import AuthenticationRequired, ErrorCode
from webapp.limits import sign_in
from webapp.services import people, tokens


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
            max_length=4096,
            examples=["a long password"],
            json_schema_extra=STORABLE_SCHEMA,
        ),
        STORABLE,
    ]


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
        "in 15 minutes for an account, or twenty for an address, are answered with 429."
    ),
    tag="Access",
    body=Credentials,
    example=Token(access_token="eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.…", expires_in=3600),
    errors=(
        ErrorCode.VALIDATION_ERROR,
        ErrorCode.AUTHENTICATION_REQUIRED,
        ErrorCode.PAYLOAD_TOO_LARGE,
        ErrorCode.RATE_LIMITED,
    ),
)
def issue_token(credentials: Credentials) -> Token:
    sign_in.check(credentials.email)
    user = people.authenticate(credentials.email, credentials.password)
    if user is None:
        sign_in.count_failure(credentials.email)
        raise AuthenticationRequired("The e-mail address or the password is wrong.")
    token, expires = tokens.issue(user)
    return Token(access_token=token, expires_in=expires - int(now().timestamp()))
