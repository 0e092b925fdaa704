"""The doors of the API: one that asks for a token first, one where tokens are given out, and one
for whoever reads the documentation.

None looks at cookies, so there is nothing that a forged form could use.
"""

from __future__ import annotations

from flask import Blueprint

from webapp.auth import bearer
from webapp.security import csrf

guarded = Blueprint("api", __name__, url_prefix="/api/v1")
guarded.before_request(bearer.authenticate)

open_to_all = Blueprint("api_auth", __name__, url_prefix="/api/v1/auth")

documents = Blueprint("api_documents", __name__, url_prefix="/api")

for blueprint in (guarded, open_to_all, documents):
    csrf.exempt(blueprint)
