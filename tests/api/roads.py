"""How each error of the API is met for real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine
from werkzeug.test import TestResponse

from simulator.server import Simulator
from simulator.users import KeyState
from tests.api.rows import make_log
from tests.cast import SURF_KEY, Cast
from webapp.clock import now
from webapp.errors import ErrorCode
from webapp.extensions import db, transaction
from webapp.models import SyncOrigin
from webapp.queue import web_connection
from webapp.services import organizations
from webapp.sync import suspension

API = "/api/v1/cliniko"
TOKEN = "/api/v1/auth/token"


class Canary(Exception):
    """Something that nobody expected, with content that nobody may see."""

    def __init__(self) -> None:
        super().__init__("SELECT api_key FROM patients WHERE last_name = 'canary'")


@dataclass(frozen=True)
class Stage:
    """What a road to an error may need: two clients, the clinic, and the parts that can break."""

    app: Flask
    cast: Cast
    cliniko: Simulator
    alice: FlaskClient
    bob: FlaskClient
    replace: Callable[..., None]

    def test_connection(self, key: KeyState = KeyState.OK) -> TestResponse:
        self.cliniko.accounts[0].users[0].keys[SURF_KEY] = key
        return self.bob.get(f"{API}/test-connection/{self.cast.surf.id}")

    def status(self, org_id: object) -> TestResponse:
        return self.alice.get(f"{API}/status/{org_id}")

    def start(self) -> TestResponse:
        return self.bob.post(f"{API}/sync-all/{self.cast.surf.id}")


def without_a_token(stage: Stage) -> TestResponse:
    return stage.app.test_client().get(f"{API}/status/{stage.cast.surf.id}")


def a_clinic_of_others(stage: Stage) -> TestResponse:
    return stage.bob.get(f"{API}/status/{stage.cast.northside.id}")


def a_clinic_that_is_disabled(stage: Stage) -> TestResponse:
    suspension.disable(stage.cast.surf, actor=stage.cast.alice)
    return stage.bob.get(f"{API}/status/{stage.cast.surf.id}")


def a_large_body(stage: Stage) -> TestResponse:
    return stage.bob.post(TOKEN, data=b" " * (1024 * 1024 + 1), content_type="application/json")


def a_second_start(stage: Stage) -> TestResponse:
    assert stage.start().status_code == 200
    return stage.start()


def a_start_too_early(stage: Stage) -> TestResponse:
    with transaction():
        stage.cast.surf.credentials_saved_at = None
    make_log(stage.cast.surf, started_at=now(), origin=SyncOrigin.API)
    return stage.start()


def a_start_without_redis(stage: Stage) -> TestResponse:
    stage.replace(stage.app.extensions, "redis", web_connection("unix:///nowhere/redis.sock"))
    return stage.start()


def a_clinic_without_a_key(stage: Stage) -> TestResponse:
    return stage.alice.get(f"{API}/test-connection/{organizations.add('Keyless').id}")


def a_key_of_another_account(stage: Stage) -> TestResponse:
    with transaction():
        stage.cast.surf.cliniko_id = "1"
    return stage.test_connection()


def a_lost_encryption_key(stage: Stage) -> TestResponse:
    stage.replace(stage.app.config, "CREDENTIALS_KEYS", [Fernet.generate_key().decode()])
    return stage.test_connection()


def a_limited_cliniko(stage: Stage) -> TestResponse:
    stage.cliniko.faults.add("rate_limited", retry_after=2)
    return stage.test_connection()


def a_cliniko_in_trouble(stage: Stage) -> TestResponse:
    stage.cliniko.faults.add("status", status=500)
    return stage.test_connection()


def a_cliniko_that_mumbles(stage: Stage) -> TestResponse:
    stage.cliniko.faults.add("html_200")
    return stage.test_connection()


def a_database_that_is_away(stage: Stage) -> TestResponse:
    stage.replace(db.engines, None, create_engine("sqlite:////nowhere/at/all.db"))
    return stage.status(1)


def a_mistake_of_ours(stage: Stage) -> TestResponse:
    def fail(**_: str) -> None:
        raise Canary

    stage.replace(stage.app.view_functions, "api.status", fail)
    return stage.status(1)


ROADS: dict[ErrorCode, Callable[[Stage], TestResponse]] = {
    ErrorCode.AUTHENTICATION_REQUIRED: without_a_token,
    ErrorCode.INSUFFICIENT_PERMISSIONS: a_clinic_of_others,
    ErrorCode.CURSOR_EXPIRED: lambda stage: stage.bob.get(
        f"{API}/changes/{stage.cast.surf.id}?cursor=1"
    ),
    ErrorCode.INVALID_ORGANIZATION_ID: lambda stage: stage.status("abc"),
    ErrorCode.ORGANIZATION_NOT_FOUND: lambda stage: stage.status(999),
    ErrorCode.ORGANIZATION_DISABLED: a_clinic_that_is_disabled,
    ErrorCode.NOT_FOUND: lambda stage: stage.bob.get("/api/v1/nothing"),
    ErrorCode.METHOD_NOT_ALLOWED: lambda stage: stage.bob.put(f"{API}/status/1"),
    ErrorCode.VALIDATION_ERROR: lambda stage: stage.bob.get(f"{API}/sync-logs/1?limit=none"),
    ErrorCode.PAYLOAD_TOO_LARGE: a_large_body,
    ErrorCode.SYNC_ALREADY_RUNNING: a_second_start,
    ErrorCode.RATE_LIMITED: a_start_too_early,
    ErrorCode.QUEUE_UNAVAILABLE: a_start_without_redis,
    ErrorCode.SYNC_NOT_RUNNING: lambda stage: stage.bob.post(f"{API}/cancel/1"),
    ErrorCode.CLINIKO_AUTH_FAILED: lambda stage: stage.test_connection(KeyState.REVOKED),
    ErrorCode.CLINIKO_FORBIDDEN: lambda stage: stage.test_connection(KeyState.FORBIDDEN),
    ErrorCode.CLINIKO_NOT_CONFIGURED: a_clinic_without_a_key,
    ErrorCode.CLINIKO_ACCOUNT_MISMATCH: a_key_of_another_account,
    ErrorCode.CLINIKO_RATE_LIMITED: a_limited_cliniko,
    ErrorCode.CLINIKO_UNAVAILABLE: a_cliniko_in_trouble,
    ErrorCode.CLINIKO_BAD_RESPONSE: a_cliniko_that_mumbles,
    ErrorCode.CREDENTIALS_UNREADABLE: a_lost_encryption_key,
    ErrorCode.DATABASE_UNAVAILABLE: a_database_that_is_away,
    ErrorCode.INTERNAL_ERROR: a_mistake_of_ours,
}
OF_NO_CLINIC = {
    ErrorCode.INVALID_ORGANIZATION_ID,
    ErrorCode.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED,
    ErrorCode.PAYLOAD_TOO_LARGE,
}
WITH_RETRY_AFTER = {
    ErrorCode.SYNC_ALREADY_RUNNING,
    ErrorCode.RATE_LIMITED,
    ErrorCode.QUEUE_UNAVAILABLE,
    ErrorCode.CLINIKO_RATE_LIMITED,
    ErrorCode.DATABASE_UNAVAILABLE,
}
