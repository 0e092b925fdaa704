"""The two doors of the API: one that asks for a token first, and one where tokens are given out.

Neither looks at cookies, so there is nothing that a forged form could use.
"""

from __future__ import annotations

from flask import Blueprint

from webapp.auth import bearer
from webapp.security import csrf

guarded = Blueprint("api", __name__, url_prefix="/api/v1")
guarded.before_request(bearer.authenticate)

open_to_all = Blueprint("api_auth", __name__, url_prefix="/api/v1/auth")

for blueprint in (guarded, open_to_all):
    csrf.exempt(blueprint)
