"""The process that delivers: real, killed for real, and apart from whoever syncs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, func, select, update

from config import Settings
from tests.cast import Cast
from tests.support.databases import on_both
from tests.support.mailbox import Mailbox
from tests.support.processes import wait_until
from tests.support.receiver import Receiver, Reply
from webapp import create_core, deliverer, queue
from webapp.clock import now
from webapp.deliverer import Deliverer
from webapp.extensions import db, transaction
from webapp.models import Notice, NoticeKind, WebhookDelivery, WebhookEndpoint, WebhookEvent
from webapp.services import deadman, notices, organizations
from webapp.services.webhooks import endpoints, outbox, sending

ROOT = Path(__file__).resolve().parent.parent
Process = subprocess.Popen[bytes]


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    return create_core


@pytest.fixture
def environment(environment: dict[str, str], box: Mailbox) -> dict[str, str]:
    return environment | box.settings | {"WEBHOOK_ALLOWED_HOSTS": "localhost"}


@pytest.fixture
def hire(app: Flask, environment: dict[str, str]) -> Iterator[Callable[[], Process]]:
    """Starts deliverers as an operator would; whoever is left at the end is killed."""
    hired: list[Process] = []

    def hire() -> Process:
        command = [sys.executable, "worker.py", "--deliver"]
        hired.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | environment))
        return hired[-1]

    yield hire
    for process in hired:
        process.kill()
        process.wait()


@pytest.fixture
def endpoint(cast: Cast, there: Receiver) -> WebhookEndpoint:
    return endpoints.add(cast.surf, there.url, [WebhookEvent.SYNC_FAILED], actor=None)[0]


def states() -> list[str]:
    db.session.rollback()
    return [delivery.state for delivery in db.session.query(WebhookDelivery)]


@on_both
def test_it_sends_webhooks_and_mails_and_ends_when_it_is_told_to(
    hire: Callable[[], Process],
    there: Receiver,
    box: Mailbox,
    cast: Cast,
    endpoint: WebhookEndpoint,
) -> None:
    with transaction():
        for _ in range(20):
            outbox.put(cast.surf.id, WebhookEvent.SYNC_FAILED, {})
        notices.put(cast.surf.id, NoticeKind.FAILING, "Failing", "Why")
    process = hire()
    wait_until(lambda: set(states()) == {"delivered"} and len(box.mails) == 2)
    assert len({came.message_id for came in there.received}) == len(there.received) == 20

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


def test_what_a_killed_one_was_sending_another_sends_again(
    hire: Callable[[], Process], there: Receiver, cast: Cast, endpoint: WebhookEndpoint
) -> None:
    for_ever = threading.Event()
    there.answer = lambda _: Reply(wait=for_ever)
    with transaction():
        outbox.put(cast.surf.id, WebhookEvent.SYNC_FAILED, {})
    first = hire()
    wait_until(lambda: len(there.received) == 1)
    first.kill()
    for_ever.set()
    with transaction() as session:  # a minute later
        session.execute(update(WebhookEndpoint).values(busy_until=now()))

    there.always(204)
    hire()
    wait_until(lambda: states() == ["delivered"])
    one, two = there.received
    assert one.message_id == two.message_id


def test_it_finishes_what_it_is_sending(
    hire: Callable[[], Process], there: Receiver, cast: Cast, endpoint: WebhookEndpoint
) -> None:
    answered = threading.Event()
    there.answer = lambda _: Reply(wait=answered)
    with transaction():
        outbox.put(cast.surf.id, WebhookEvent.SYNC_FAILED, {})
    process = hire()
    wait_until(lambda: len(there.received) == 1)
    process.send_signal(signal.SIGTERM)
    answered.set()
    assert process.wait(timeout=20) == 0
    assert states() == ["delivered"]


def test_it_can_be_told_to_end_while_its_thread_holds_every_lock_of_its_own(app: Flask) -> None:
    """A signal handler runs in the thread it interrupts, which would wait for itself for ever."""
    deliverer, stopped = Deliverer(app), threading.Event()

    def handler() -> None:
        deliverer.stop()
        stopped.set()

    events = [each for each in vars(deliverer).values() if isinstance(each, threading.Event)]
    assert events
    with ExitStack() as held:
        for event in events:
            held.enter_context(event._cond)  # type: ignore[attr-defined]
        threading.Thread(target=handler, daemon=True).start()
        assert stopped.wait(10)


@pytest.fixture
def says() -> int:
    """What the service answers."""
    return 204


@pytest.fixture
def calls(app: Flask, says: int) -> Iterator[list[str]]:
    """Everything that a service of the kind of a dead man's switch has heard."""
    heard: list[str] = []

    class Switch(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(says)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Switch) as server:
        app.config["DEADMAN_URL"] = f"http://127.0.0.1:{server.server_port}/ping"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield heard
        server.shutdown()
        thread.join()


def test_a_sign_of_life_is_given_while_a_worker_lives(
    app: Flask, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not deadman.tell()  # no worker is there
    monkeypatch.setattr(queue, "workers_connected", lambda: 1)
    assert deadman.tell()
    assert calls == ["/ping"]

    app.config["DEADMAN_URL"] = "http://127.0.0.1:1/"
    assert not deadman.tell()
    app.config["DEADMAN_URL"] = None
    assert not deadman.tell()


@pytest.mark.parametrize(
    "database", ["sqlite:////nowhere/at/all.db", "sqlite://", "sqlite:///file:{}?mode=ro&uri=true"]
)
def test_a_sign_of_life_stays_away_while_the_database_or_its_tables_do_or_may_only_be_read(
    calls: list[str], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "workers_connected", lambda: 1)
    with monkeypatch.context() as patched:
        there = create_engine(database.format(db.engine.url.database))
        patched.setitem(db.engines, None, there)
        assert not deadman.tell()
    assert calls == []
    assert deadman.tell()
    assert calls == ["/ping"]


@pytest.mark.parametrize("says", [302, 404, 503])
def test_a_call_that_was_not_heard_is_told_in_the_log(
    calls: list[str], says: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(queue, "workers_connected", lambda: 1)
    assert not deadman.tell()
    assert calls == ["/ping"]  # and what it leads to is not followed
    assert "no_sign_of_life" in caplog.text
    assert str(says) in caplog.text


@contextmanager
def delivering(app: Flask) -> Iterator[None]:
    """A deliverer in a thread of this process."""
    it = Deliverer(app)
    thread = threading.Thread(target=it.run)
    thread.start()
    try:
        yield
    finally:
        it.stop()
        thread.join()


def mails_taken() -> int:
    db.session.rollback()
    taken = select(func.count()).select_from(Notice).where(Notice.tries > 0)
    return db.session.scalar(taken) or 0


def test_receivers_that_are_all_silent_hold_up_neither_mails_nor_signs_of_life(
    app: Flask,
    there: Receiver,
    box: Mailbox,
    cast: Cast,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue, "workers_connected", lambda: 1)
    monkeypatch.setattr(deliverer, "NOW_AND_THEN_SECONDS", 0.2)
    clinics = [cast.surf, cast.northside, organizations.add("Third clinic")]
    for number, clinic in enumerate(clinics * sending.MOST_OF_A_CLINIC):
        endpoints.add(clinic, f"{there.url}?{number}", [WebhookEvent.SYNC_FAILED], actor=None)
    answered = threading.Event()
    there.answer = lambda _: Reply(wait=answered)
    with transaction():
        for clinic in clinics:
            outbox.put(clinic.id, WebhookEvent.SYNC_FAILED, {})

    with delivering(app):
        try:
            wait_until(lambda: len(there.received) == deliverer.WEBHOOKS_AT_ONCE)
            with transaction():
                notices.put(cast.surf.id, NoticeKind.FAILING, "Failing", "Why")
            wait_until(lambda: len(box.mails) == 2)
            assert len(there.received) == deliverer.WEBHOOKS_AT_ONCE

            with socket.create_server(("127.0.0.1", 0)) as silent:  # neither does it say a word
                app.config["SMTP_URL"] = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
                with transaction():
                    notices.put(cast.surf.id, NoticeKind.FAILING, "Failing", "Why")
                wait_until(lambda: mails_taken() == 4)  # every place is taken
                before = len(calls)
                wait_until(lambda: len(calls) > before + 1, seconds=8)  # before anybody gives up
        finally:
            answered.set()
