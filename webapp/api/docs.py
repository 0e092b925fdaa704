"""GET /api/v1/openapi.json and /api/docs: the API described, for programs and for people."""

from __future__ import annotations

from flask import Response, current_app, jsonify

from webapp.api.blueprints import documents


@documents.get("/v1/openapi.json")
def openapi() -> Response:
    return jsonify(current_app.extensions["openapi"])
