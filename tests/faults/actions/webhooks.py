"""Receivers of webhooks that are down, slow, hostile or gone, while a sync runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

from config import ROOT
from tests.faults.injection import Action, Injection
from tests.support.receiver import Receiver, Reply, receiver
from webapp.extensions import db
from webapp.models import SUBSCRIBABLE, Organization, WebhookDelivery, WebhookEndpoint
from webapp.services.webhooks import endpoints

MESSAGES = 4  # of tests, besides the one of the sync


def told(prepare: Callable[[Receiver], object], came: int | str) -> Action:
    """Have a receiver of this kind told of the sync; `came` is the status or problem of each try
    that has ended."""

    def act(it: Injection) -> None:
        never = threading.Event()
        with receiver() as there:
            prepare(there)
            if came == "timed_out":
                there.answer = lambda _: Reply(wait=never)
            endpoint_id = _added(it, "http://localhost:1/" if came == "unreachable" else there.url)
            command = [sys.executable, "worker.py", "--deliver"]
            with subprocess.Popen(command, cwd=ROOT) as deliverer:
                it.start()
                it.until(it.is_over)
                it.until(lambda: came in _seen(it, endpoint_id), seconds=30)
                never.set()
                deliverer.terminate()
        if set(_seen(it, endpoint_id)) != {came}:
            it.problems.append(f"tries ended with {_seen(it, endpoint_id)}, not with {came}")

    return act


def says(status: int, body: bytes = b"", **headers: str) -> Callable[[Receiver], object]:
    """A receiver that answers everything with this."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def prepare(there: Receiver) -> None:
        there.answer = lambda _: Reply(status, named, body)

    return prepare


def _added(it: Injection, address: str) -> int:
    it.parts.app.config["WEBHOOK_ALLOWED_HOSTS"] = ["localhost"]
    it.parts.set(WEBHOOK_ALLOWED_HOSTS="localhost")
    with it.parts.inside():
        clinic = db.session.get_one(Organization, it.organization_id)
        endpoint, _ = endpoints.add(clinic, address, SUBSCRIBABLE, actor=None)
        for _ in range(MESSAGES):
            endpoints.send_test(endpoint, actor=None)
        return endpoint.id


def _seen(it: Injection, endpoint_id: int) -> list[int | str]:
    with it.parts.inside():
        theirs = WebhookDelivery.endpoint_id == endpoint_id
        found = db.session.query(WebhookDelivery).join(WebhookEndpoint).filter(theirs)
        return [
            attempt["problem"] or attempt["status"]
            for delivery in found
            for attempt in delivery.attempts
        ]
