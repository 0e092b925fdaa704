"""Signatures: as the specification, its reference library, and its published vector have them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some
from standardwebhooks import Webhook, WebhookVerificationError

from webapp.clock import now
from webapp.services.webhooks import signing

# Published with the specification; what the reference library makes of it was computed apart.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
MOMENT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_known_message_has_the_known_signature() -> None:
    assert signing.headers(MESSAGE, MOMENT, BODY, [SECRET]) == {
        "webhook-id": MESSAGE,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNED,
    }


@given(
    some.text(max_size=200),
    some.datetimes(timezones=some.just(UTC), min_value=datetime(2000, 1, 1)),
)
def test_it_signs_as_the_reference_library_does(text: str, moment: datetime) -> None:
    secret, message = signing.new_secret(), signing.new_message_id()
    body = json.dumps({"text": text})
    ours = signing.headers(message, moment, body.encode(), [secret])
    assert ours["webhook-signature"] == Webhook(secret).sign(message, moment, body)


def test_the_reference_library_takes_either_of_two_secrets() -> None:
    old, new = signing.new_secret(), signing.new_secret()
    headers = signing.headers(signing.new_message_id(), now(), BODY, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(BODY + b" ", headers)


def test_secrets_are_32_bytes_and_no_two_the_same() -> None:
    made = {signing.new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_ids_hold_no_dot_for_dots_divide_what_is_signed() -> None:
    made = {signing.new_message_id() for _ in range(100)}
    assert len(made) == 100
    assert not any("." in each for each in made)
