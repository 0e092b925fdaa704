"""From the outbox to the receiver: at least once, by one at a time, again until it is taken."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import case, delete, func, select, text
from sqlalchemy.exc import OperationalError
from standardwebhooks import Webhook

from tests.cast import Cast
from tests.services.webhooks.conftest import send_due
from tests.support.databases import on_both
from tests.support.receiver import Received, Receiver, Reply
from webapp.clock import now
from webapp.errors import AuditUnavailable, ValidationError
from webapp.extensions import db, transaction
from webapp.models import (
    SUBSCRIBABLE,
    AuditEvent,
    DeliveryState,
    PauseReason,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from webapp.services import audit, audit_check
from webapp.services.webhooks import deliveries, endpoints, line, outbox, sending
from webapp.services.webhooks.line import Outcome
from webapp.sync import suspension

Tell = Callable[..., WebhookDelivery]


def statuses(delivery: WebhookDelivery) -> list[int | None]:
    db.session.refresh(delivery)
    return [attempt["status"] for attempt in delivery.attempts]


def next_due() -> datetime | None:
    """When there is something to do next; None if nothing waits."""
    rest = func.coalesce(WebhookEndpoint.rests_until, WebhookDelivery.next_attempt_at)
    later = case(
        (rest > WebhookDelivery.next_attempt_at, rest), else_=WebhookDelivery.next_attempt_at
    )
    waiting = select(func.min(later)).join(WebhookDelivery.endpoint)
    due: datetime | None = db.session.scalar(
        waiting.where(WebhookDelivery.state == DeliveryState.WAITING)
    )
    return due


def assert_signed_with(came: Received, *secrets: str) -> None:
    for secret in secrets:
        Webhook(secret).verify(came.body, dict(came.headers))


@on_both
def test_a_message_is_sent_once_and_its_signature_holds(
    there: Receiver, tell: Tell, secret: str, cast: Cast
) -> None:
    delivery = tell(patients_synced=648)

    assert send_due() == 1
    assert send_due() == 0

    (came,) = there.received
    assert came.message_id == delivery.message_id
    assert Webhook(secret).verify(came.body, dict(came.headers)) == {
        "event": "sync.completed",
        "organization_id": cast.surf.id,
        "data": {"patients_synced": 648},
    }
    assert statuses(delivery) == [204]
    assert delivery.state == DeliveryState.DELIVERED


@on_both
def test_what_was_rolled_back_is_told_to_nobody(there: Receiver, endpoint: WebhookEndpoint) -> None:
    def change_and_fail() -> None:
        with transaction():
            outbox.put(endpoint.organization_id, WebhookEvent.SYNC_COMPLETED, {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert send_due() == 0
    assert there.received == []


def test_nothing_leaves_for_a_clinic_while_it_is_disabled(
    there: Receiver, tell: Tell, cast: Cast
) -> None:
    with transaction():
        cast.surf.disabled_at = now()
    delivery = tell()
    assert send_due() == 0
    with pytest.raises(ValidationError, match="Enable the clinic first"):
        endpoints.send_test(delivery.endpoint, actor=cast.alice)
    with transaction():
        cast.surf.disabled_at = None
    assert send_due() == 1
    assert statuses(delivery) == [204]


def test_everybody_is_told_what_they_asked_for_and_nobody_else(
    there: Receiver, cast: Cast, endpoint: WebhookEndpoint
) -> None:
    failures, _ = endpoints.add(cast.surf, there.url, [WebhookEvent.SYNC_FAILED], actor=None)
    endpoints.add(cast.northside, there.url, SUBSCRIBABLE, actor=None)

    with transaction():
        outbox.put(cast.surf.id, WebhookEvent.SYNC_COMPLETED, {})
    assert send_due() == 1
    with transaction():
        outbox.put(cast.surf.id, WebhookEvent.SYNC_FAILED, {})
    assert send_due() == 2

    told = {delivery.endpoint_id for delivery in db.session.scalars(select(WebhookDelivery))}
    assert told == {endpoint.id, failures.id}
    assert len({came.message_id for came in there.received}) == 3


def test_it_comes_again_under_the_same_id_with_a_time_of_its_own(
    there: Receiver, tell: Tell, secret: str
) -> None:
    tell()
    there.always(500)
    with time_machine.travel(now(), tick=False) as clock:
        send_due()
        assert send_due() == 0
        clock.shift(6)
        there.always(204)
        assert send_due() == 1
        for came in there.received:
            Webhook(secret).verify(came.body, dict(came.headers))
    first, second = there.received
    assert first.message_id == second.message_id
    assert first.body == second.body
    apart = int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"])
    assert apart == 6


def test_after_a_day_of_failures_the_endpoint_is_paused_and_the_clinic_can_see_why(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint
) -> None:
    delivery = tell()
    there.always(503)
    begun = now()
    with time_machine.travel(begun, tick=False) as clock:
        while (due := next_due()) is not None:
            assert due - begun < timedelta(hours=30)
            clock.move_to(max(due, now()))
            send_due()
        db.session.refresh(endpoint)
        assert send_due() == 0
    assert endpoint.paused_because == PauseReason.EXHAUSTED
    assert endpoint.is_stopped
    assert endpoint.paused_at is not None
    assert timedelta(hours=24) <= endpoint.paused_at - begun < timedelta(hours=25)
    assert statuses(delivery) == [503] * 10
    assert delivery.state == DeliveryState.FAILED

    later = tell()
    assert send_due() == 0
    there.always(204)
    endpoints.resume(endpoint, actor=None)
    assert send_due() == 1
    assert statuses(later)[-1] == 204
    db.session.refresh(delivery)
    assert delivery.state == DeliveryState.FAILED  # as the mail and the page say


def test_a_dead_receiver_of_many_messages_is_stopped_after_a_day_too(
    tell: Tell, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share its tries: the tenth of a message would come two days later."""
    messages = [tell() for _ in range(60)]
    monkeypatch.setattr(line, "post", lambda *_: Outcome(status=503))
    begun = now()
    with time_machine.travel(begun, tick=False) as clock:
        while endpoint.paused_at is None:
            clock.move_to(max(next_due() or now(), now()))
            assert send_due() == 1
            db.session.refresh(endpoint)
    assert endpoint.paused_because == PauseReason.EXHAUSTED
    assert timedelta(hours=24) <= endpoint.paused_at - begun < timedelta(hours=25)
    states = Counter(db.session.get_one(WebhookDelivery, each.id).state for each in messages)
    assert states == {DeliveryState.FAILED: 1, DeliveryState.WAITING: 59}


def test_a_receiver_is_not_stopped_because_the_sender_was_away_for_a_day(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint
) -> None:
    for _ in range(3):
        tell()
    there.always(503)
    begun = now()
    with time_machine.travel(begun, tick=False) as clock:
        while now() < begun + timedelta(minutes=45):
            clock.move_to(max(next_due() or now(), now()))
            assert send_due() == 1
        db.session.refresh(endpoint)
        assert endpoint.failures_in_a_row > 10
        clock.shift(timedelta(days=2))
        assert send_due() == 1
        db.session.refresh(endpoint)
    assert endpoint.paused_at is None


def test_a_message_has_all_of_its_tries_over_a_day_though_the_sender_was_away_for_one(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint
) -> None:
    delivery = tell()
    there.always(503)
    with time_machine.travel(now(), tick=False) as clock:
        assert send_due() == 1
        clock.shift(timedelta(days=1))
        back = now()
        while (due := next_due()) is not None:
            clock.move_to(max(due, now()))
            send_due()
        db.session.refresh(endpoint)
    assert statuses(delivery) == [503] * 10
    assert endpoint.paused_at is not None
    assert timedelta(hours=23) < endpoint.paused_at - back < timedelta(hours=25)


@on_both
def test_what_waits_goes_to_another_address_at_once_and_with_all_of_its_tries(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint
) -> None:
    delivery = tell()
    there.always(503)
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(9):  # the next would be the last
            clock.move_to(max(next_due() or now(), now()))
            assert send_due() == 1
        endpoints.change(endpoint, address=f"{there.url}/elsewhere", actor=None)
        assert send_due() == 1
        db.session.refresh(endpoint)
        assert endpoint.paused_at is None
        assert statuses(delivery) == [503] * 10
        assert (delivery.state, delivery.tries) == (DeliveryState.WAITING, 1)
        endpoints.change(endpoint, events=[WebhookEvent.SYNC_FAILED], actor=None)
        db.session.refresh(delivery)
        assert delivery.tries == 1  # other events are no reason


@on_both
@pytest.mark.parametrize("status", [410, 500])
def test_what_fails_for_the_last_time_while_its_clinic_is_disabled_waits_until_it_is_enabled(
    there: Receiver,
    tell: Tell,
    endpoint: WebhookEndpoint,
    cast: Cast,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delivery = tell()

    def slowly(*_: object) -> Outcome:
        suspension.disable(cast.surf, actor=cast.alice)
        return Outcome(status=status)

    with transaction():
        delivery.tries, delivery.first_tried_at = 9, now() - timedelta(days=1)
        endpoint.failures_in_a_row = 300
    with monkeypatch.context() as patched:
        patched.setattr(line, "post", slowly)
        assert send_due() == 1
    assert delivery.state == DeliveryState.WAITING
    db.session.refresh(endpoint)
    assert endpoint.paused_at is None
    assert send_due() == 0

    suspension.enable(cast.surf, actor=cast.alice)
    db.session.refresh(delivery)
    assert delivery.tries == 0
    assert send_due() == 1
    assert statuses(delivery) == [status, 204]


@pytest.mark.parametrize("database", ["postgresql"])  # SQLite has one writer at a time
def test_nobody_changes_a_webhook_while_its_clinic_is_enabled(
    tell: Tell, endpoint: WebhookEndpoint, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell()
    suspension.disable(cast.surf, actor=cast.alice)
    begin_anew, refused = outbox.begin_anew, []

    def beside_another(endpoint: WebhookEndpoint) -> None:
        with db.engine.connect() as other:
            other.execute(text("SET lock_timeout = '1ms'"))
            with pytest.raises(OperationalError, match="lock timeout") as refusal:
                other.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint.id))
            refused.append(refusal)
        begin_anew(endpoint)

    monkeypatch.setattr(outbox, "begin_anew", beside_another)
    suspension.enable(cast.surf, actor=cast.alice)
    assert len(refused) == 1
    assert send_due() == 1


@on_both
@pytest.mark.parametrize("status", [410, 500])
def test_what_fails_for_the_last_time_while_somebody_pauses_waits_until_they_resume(
    there: Receiver,
    tell: Tell,
    endpoint: WebhookEndpoint,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delivery, endpoint_id = tell(), endpoint.id

    def slowly(*_: object) -> Outcome:
        endpoints.pause(db.session.get_one(WebhookEndpoint, endpoint_id), actor=None)
        return Outcome(status=status)

    with transaction():
        delivery.tries, delivery.first_tried_at = 9, now() - timedelta(days=1)
    with monkeypatch.context() as patched:
        patched.setattr(line, "post", slowly)
        assert send_due() == 1
    assert statuses(delivery) == [status]
    assert delivery.state == DeliveryState.WAITING
    db.session.refresh(endpoint)
    assert endpoint.paused_because == PauseReason.PERSON

    endpoints.resume(endpoint, actor=None)
    assert send_due() == 1
    assert statuses(delivery) == [status, 204]


@on_both
@pytest.mark.parametrize("status", [204, 410, 500])
def test_what_the_old_address_answers_after_a_change_is_not_taken_for_the_new_one(
    there: Receiver,
    tell: Tell,
    endpoint: WebhookEndpoint,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delivery, endpoint_id = tell(), endpoint.id

    def slowly(*_: object) -> Outcome:  # meanwhile somebody enters another address
        changed = db.session.get_one(WebhookEndpoint, endpoint_id)
        endpoints.change(changed, address=f"{there.url}/new", actor=None)
        return Outcome(status=status)

    db.session.rollback()
    (turn,) = sending.take_turns(1)
    with monkeypatch.context() as patched:
        patched.setattr(line, "post", slowly)
        sending.send(turn)

    db.session.refresh(endpoint)
    assert (endpoint.paused_at, endpoint.failures_in_a_row) == (None, 0)
    assert statuses(delivery) == []
    assert send_due() == 1  # at once
    assert statuses(delivery) == [204]


def test_gone_is_gone(there: Receiver, tell: Tell, endpoint: WebhookEndpoint) -> None:
    delivery = tell()
    there.always(410)
    send_due()
    db.session.refresh(endpoint)
    assert endpoint.paused_because == PauseReason.GONE
    assert statuses(delivery) == [410]
    assert delivery.state == DeliveryState.FAILED
    tell()
    assert send_due() == 0


@on_both
@pytest.mark.parametrize("reason", [PauseReason.GONE, PauseReason.EXHAUSTED])
def test_that_we_stopped_it_stands_in_the_audit_trail(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint, reason: PauseReason
) -> None:
    tell()
    there.always(410 if reason is PauseReason.GONE else 503)
    with time_machine.travel(now(), tick=False) as clock:
        while (due := next_due()) is not None:
            clock.move_to(max(due, now()))
            send_due()
    paused = select(AuditEvent).where(AuditEvent.event == "webhook:stopped")
    row = db.session.scalars(paused).one()
    assert (row.chain, row.subject) == (endpoint.organization_id, f"webhook {endpoint.id}")
    assert (row.actor, row.via, row.details) == (None, "worker", {"reason": str(reason)})
    assert list(audit_check.verify()) == []


def test_a_stop_that_cannot_be_recorded_does_not_happen(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise AuditUnavailable

    delivery = tell()
    there.always(410)
    with monkeypatch.context() as patched:
        patched.setattr(audit, "append", unavailable)
        with pytest.raises(AuditUnavailable):
            send_due()
    db.session.refresh(endpoint)
    assert endpoint.paused_at is None
    assert (delivery.state, delivery.attempts) == (DeliveryState.WAITING, [])


def test_a_receiver_that_asks_for_time_gets_it(there: Receiver, tell: Tell) -> None:
    tell()
    there.always(429, Retry_After="600")
    with time_machine.travel(now(), tick=False) as clock:
        send_due()
        clock.shift(590)
        tell()  # another message does not come earlier either
        assert send_due() == 0
        clock.shift(15)
        assert send_due() == 1


def test_a_test_message_is_tried_once_and_pauses_nothing(
    there: Receiver, endpoint: WebhookEndpoint, cast: Cast
) -> None:
    there.always(500)
    delivery = endpoints.send_test(endpoint, actor=cast.bob)
    assert send_due() == 1
    assert statuses(delivery) == [500]
    assert delivery.state == DeliveryState.FAILED
    with time_machine.travel(now() + timedelta(days=2)):
        assert send_due() == 0
    db.session.refresh(endpoint)
    assert endpoint.paused_at is None
    assert json.loads(there.received[0].body)["event"] == "webhook.test"


@on_both
def test_a_test_message_goes_before_all_that_waits(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint, cast: Cast
) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        waiting = [tell() for _ in range(3)]
        there.always(500)
        assert send_due() == 1
        clock.shift(timedelta(hours=1))
        test = endpoints.send_test(endpoint, actor=cast.bob)
        there.always(204)
        while send_due():
            pass
    failed, sent, *others = [came.message_id for came in there.received]
    assert (failed, sent) == (waiting[0].message_id, test.message_id)
    assert sorted(others) == sorted(delivery.message_id for delivery in waiting)


def test_a_secret_that_nobody_can_read_sends_nothing(
    app: Flask, there: Receiver, tell: Tell
) -> None:
    from cryptography.fernet import Fernet

    delivery = tell()
    app.config["CREDENTIALS_KEYS"] = [Fernet.generate_key().decode()]
    send_due()
    db.session.refresh(delivery)
    assert delivery.attempts[0]["problem"] == "secret_unreadable"
    assert there.received == []


def test_for_a_day_messages_are_signed_with_both_secrets(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint, secret: str
) -> None:
    new = endpoints.rotate(endpoint, actor=None)
    with time_machine.travel(now(), tick=False) as clock:
        tell()
        send_due()
        clock.shift(timedelta(hours=25))
        tell()
        send_due()
        both, one = there.received
        Webhook(new).verify(one.body, dict(one.headers))
        assert one.headers["webhook-signature"].count("v1,") == 1
        clock.shift(timedelta(hours=-25))
        assert_signed_with(both, secret, new)


def test_a_second_click_on_a_new_secret_leaves_the_one_that_the_receiver_has(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint, secret: str
) -> None:
    endpoints.rotate(endpoint, actor=None)
    new = endpoints.rotate(endpoint, actor=None)
    tell()
    send_due()
    (both,) = there.received
    assert_signed_with(both, secret, new)


@on_both
def test_a_secret_that_was_promised_until_tomorrow_outlives_the_next_new_one(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint, secret: str
) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        between = endpoints.rotate(endpoint, actor=None)
        promised = endpoint.old_secret_until
        clock.shift(timedelta(minutes=1))
        new = endpoints.rotate(endpoint, actor=None)
        assert promised is not None
        clock.move_to(promised - timedelta(seconds=1))
        tell()
        send_due()
        assert_signed_with(there.received[-1], secret, between, new)

        with pytest.raises(ValidationError, match="Make another in 1 second"):
            endpoints.rotate(endpoint, actor=None)
        db.session.rollback()

        clock.move_to(promised + timedelta(seconds=1))
        tell()
        send_due()
        last = there.received[-1]
        assert_signed_with(last, between, new)
        assert last.headers["webhook-signature"].count("v1,") == 2
        newest = endpoints.rotate(endpoint, actor=None)
        tell()
        send_due()
        assert_signed_with(there.received[-1], between, new, newest)


def test_a_new_secret_is_enough_where_the_one_before_cannot_be_read(
    app: Flask, there: Receiver, tell: Tell, endpoint: WebhookEndpoint
) -> None:
    from cryptography.fernet import Fernet

    app.config["CREDENTIALS_KEYS"] = [Fernet.generate_key().decode()]
    new = endpoints.rotate(endpoint, actor=None)
    assert endpoint.old_secret_until is None
    tell()
    send_due()
    (one,) = there.received
    Webhook(new).verify(one.body, dict(one.headers))


@on_both
def test_two_senders_never_send_the_same_at_once(
    app: Flask, there: Receiver, tell: Tell, endpoint: WebhookEndpoint
) -> None:
    for _ in range(10):
        tell()
    together = threading.Barrier(4)

    def sender(_: int) -> int:
        with app.app_context():
            together.wait()
            return sum(send_due() for _ in range(15))

    with ThreadPoolExecutor(4) as four:
        sent = sum(four.map(sender, range(4)))
    while send_due():
        sent += 1

    assert sent == 10
    counted = Counter(came.message_id for came in there.received)
    assert set(counted.values()) == {1}
    assert len(counted) == 10


@on_both
def test_what_a_dead_sender_had_taken_goes_again(there: Receiver, tell: Tell) -> None:
    delivery = tell()
    with time_machine.travel(now(), tick=False) as clock:
        (turn,) = sending.take_turns(5)  # and then it dies
        clock.shift(sending.TURN - timedelta(seconds=1))
        assert send_due() == 0
        clock.shift(2)
        assert send_due() == 1
        assert statuses(delivery) == [204]

        sending.send(turn)  # it was only asleep: nobody writes down what it did
        assert statuses(delivery) == [204]
    assert [came.message_id for came in there.received] == [delivery.message_id] * 2


def test_no_transaction_is_open_while_the_receiver_thinks(
    app: Flask, there: Receiver, tell: Tell, endpoint: WebhookEndpoint
) -> None:
    tell()
    answered = threading.Event()
    there.answer = lambda _: Reply(wait=answered)

    def send() -> None:
        with app.app_context():
            send_due()

    sender = threading.Thread(target=send)
    sender.start()
    while not there.received:
        assert sender.is_alive()
    endpoints.pause(endpoint, actor=None)  # would wait for a lock
    answered.set()
    sender.join()
    db.session.refresh(endpoint)
    assert endpoint.paused_because == PauseReason.PERSON


def test_a_dead_receiver_keeps_nobody_waiting(
    there: Receiver, cast: Cast, endpoint: WebhookEndpoint
) -> None:
    """A hundred messages wait for one who does not answer, and one for somebody who does."""
    other, _ = endpoints.add(cast.northside, there.url, SUBSCRIBABLE, actor=None)
    with transaction() as session:
        for _ in range(100):
            outbox.put_for(session.merge(endpoint), WebhookEvent.SYNC_COMPLETED, {})
        outbox.put_for(session.merge(other), WebhookEvent.SYNC_COMPLETED, {})
    turns = sending.take_turns(4)
    assert {turn.endpoint_id for turn in turns} == {endpoint.id, other.id}


def test_slow_receivers_of_one_clinic_leave_places_to_others(
    there: Receiver, cast: Cast, endpoint: WebhookEndpoint
) -> None:
    urls = [f"{there.url}/{number}" for number in range(3)]
    more = [endpoints.add(cast.surf, url, SUBSCRIBABLE, actor=None)[0] for url in urls]
    other, _ = endpoints.add(cast.northside, there.url, SUBSCRIBABLE, actor=None)
    with transaction() as session:
        for each in [endpoint, *more, other]:
            outbox.put_for(session.merge(each), WebhookEvent.SYNC_COMPLETED, {})

    first = sending.take_turns(4)

    assert len(first) == sending.MOST_OF_A_CLINIC + 1
    assert other.id in {turn.endpoint_id for turn in first}
    assert sending.take_turns(4) == []


def test_what_has_long_been_due_keeps_no_other_waiting(
    there: Receiver, cast: Cast, endpoint: WebhookEndpoint
) -> None:
    other, _ = endpoints.add(cast.surf, f"{there.url}/other", SUBSCRIBABLE, actor=None)
    with transaction() as session:
        for each in [endpoint] * 40 + [other]:
            outbox.put_for(session.merge(each), WebhookEvent.SYNC_COMPLETED, {})

    served = set()
    for _ in range(40):
        (turn,) = sending.take_turns(1)
        sending.send(turn)
        served.add(turn.endpoint_id)

    assert served == {endpoint.id, other.id}


def test_a_deleted_endpoint_takes_its_messages_along(
    there: Receiver, tell: Tell, endpoint: WebhookEndpoint
) -> None:
    tell()
    (turn,) = sending.take_turns(1)
    endpoints.remove(endpoint, actor=None)
    assert sending.send(turn) is None
    assert there.received == []
    assert db.session.scalar(select(func.count()).select_from(WebhookDelivery)) == 0


@on_both
def test_two_hundred_messages_to_a_receiver_that_fails_half_the_time(
    there: Receiver, endpoint: WebhookEndpoint, secret: str, tell: Tell
) -> None:
    """Each comes at least once, and every copy under one id with a signature that holds."""
    events = 200
    dice = random.Random(8)
    taken: Counter[str] = Counter()
    refused = 0

    def half_the_time(came: Received) -> Reply:
        nonlocal refused
        Webhook(secret).verify(came.body, dict(came.headers))
        if dice.random() < 0.5:
            refused += 1
            return Reply(dice.choice([500, 502, 503, 404, 302]))
        taken[came.message_id] += 1
        return Reply()

    there.answer = half_the_time
    with transaction() as session:
        for number in range(events):
            here = session.merge(endpoint)
            outbox.put_for(here, WebhookEvent.SYNC_COMPLETED, {"sync_log_id": number})
    with time_machine.travel(now(), tick=False) as clock:
        while (due := next_due()) is not None:
            clock.move_to(max(due, now()))
            send_due()
    ids = set(db.session.scalars(select(WebhookDelivery.message_id)))
    assert len(ids) == events
    assert set(taken) == ids
    assert len(there.received) == events + refused
    counts = deliveries.count_by_state()
    assert counts == {"waiting": 0, "held": 0, "delivered": events, "failed": 0}
