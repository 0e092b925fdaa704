"""GET /api/v1/openapi.json and /api/docs: the API described, for programs and for people."""

from __future__ import annotations

from flask import Response, current_app, jsonify, render_template

from webapp.api.blueprints import documents
from webapp.api.error_codes import MEANINGS, ONLY_IN_SYNC_LOGS
from webapp.api.reference import follower, programs, reference, verifiers, with_code
from webapp.api.webhook_messages import EXAMPLES, HEADERS, TOLD_OF


@documents.get("/v1/openapi.json")
def openapi() -> Response:
    return jsonify(current_app.extensions["openapi"]())


@documents.get("/docs")
def docs() -> str:
    known = current_app.extensions
    if "api_reference" not in known:  # the same for everybody, and public: made once
        known["api_reference"] = reference(current_app)
    return render_template(
        "api/docs.html",
        chapters=known["api_reference"],
        programs=programs(),
        follower=follower(),
        verifiers=verifiers(),
        messages={each.event: each.model_dump_json(indent=2) for each in EXAMPLES},
        told_of=TOLD_OF,
        headers=HEADERS,
        meanings=MEANINGS,
        only_in_sync_logs=ONLY_IN_SYNC_LOGS,
        with_code=with_code,
    )
