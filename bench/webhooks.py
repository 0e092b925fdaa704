"""What receivers of webhooks cost a sync: nobody to tell, beside ten who are dead, slow or hostile.

    .venv/bin/python -m bench.webhooks --patients 5000 --rounds 7

The deliverer runs beside the worker, each receiver has a backlog of messages, and every sync writes
ten more. The two kinds of rounds take turns. The clock goes from start to "completed".
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from bench.system import one_sync, simulator, system
from bench.tables import origin, table
from config import ROOT
from tests.support.receiver import Reply, receiver
from webapp.extensions import db, transaction
from webapp.models import SUBSCRIBABLE, Organization, WebhookEvent
from webapp.services.webhooks import endpoints, outbox

RECEIVERS = 10
BACKLOG = 100


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=5_000)
    parser.add_argument("--latency", type=float, default=20, help="in ms")
    parser.add_argument("--rounds", type=int, default=7)
    said = parser.parse_args()
    alone: list[float] = []
    beside: list[float] = []
    for_ever = threading.Event()
    with (
        receiver() as there,
        simulator(said.patients, said.latency) as cliniko,
        tempfile.TemporaryDirectory() as folder,
        system(Path(folder), cliniko) as app,
    ):
        there.answer = lambda _: Reply(500, wait=for_ever)
        app.config["WEBHOOK_ALLOWED_HOSTS"] = ["localhost"]
        environ = os.environ | app.config["ENVIRON"] | {"WEBHOOK_ALLOWED_HOSTS": "localhost"}
        command = ["nice", "-n", "5", sys.executable, "worker.py", "--deliver"]
        with subprocess.Popen(command, cwd=ROOT, env=environ) as deliverer:
            one_sync(app)  # the first fills the copy
            for _ in range(said.rounds):
                alone.append(one_sync(app)[0])
                _add(there.url)
                beside.append(one_sync(app)[0])
                _remove()
            for_ever.set()
            deliverer.kill()
        tried = len(there.received)
    nothing, something = statistics.median(alone), statistics.median(beside)
    print(origin("bench.webhooks"))
    print(f"{RECEIVERS} receivers, half of them silent and half not there; {tried} tries meanwhile")
    rows = [
        ["nobody to tell", f"{nothing:.2f}", ""],
        ["receivers that are dead or silent", f"{something:.2f}", f"{something / nothing:.3f}"],
    ]
    print(table(["", "median seconds of a sync", "ratio"], rows))


def _add(url: str) -> None:
    organization = db.session.get_one(Organization, 1)
    for number in range(RECEIVERS):
        address = f"{url if number % 2 else 'http://localhost:1/'}?{number}"
        endpoint, _ = endpoints.add(organization, address, SUBSCRIBABLE, actor=None)
        with transaction():
            for _ in range(BACKLOG):
                outbox.put_for(endpoint, WebhookEvent.SYNC_COMPLETED, {})


def _remove() -> None:
    for endpoint in endpoints.of(db.session.get_one(Organization, 1)):
        endpoints.remove(endpoint, actor=None)


if __name__ == "__main__":
    main()
