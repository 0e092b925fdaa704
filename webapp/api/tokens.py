"""POST /auth/token: an e-mail address and a password for a bearer token."""

from __future__ import annotations

from webapp.api import parameters
from webapp.api.blueprints import open_to_all
from webapp.api.serializers import Json, token_json
from webapp.errors import AuthenticationRequired
from webapp.limits import sign_in
from webapp.services import people, tokens


@open_to_all.post("/token")
def issue_token() -> Json:
    email = parameters.body_text("email", max_length=320)
    password = parameters.body_text("password", max_length=4096)
    sign_in.check(email)
    user = people.authenticate(email, password)
    if user is None:
        sign_in.count_failure(email)
        raise AuthenticationRequired("The e-mail address or the password is wrong.")
    return token_json(*tokens.issue(user))
