"""Every example of the documentation does what it says: requests one by one, and whole programs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests

from config import ROOT
from script.address import free_port
from tests.support.processes import wait_until
from tests.support.running_system import Clinic, RunningSystem
from tests.support.typescript import TypeScriptUnavailable, compiled
from webapp import create_app
from webapp.api.metadata import Certificate, CertifiedSide
from webapp.api.reference import EXAMPLES, Operation, reference
from webapp.api.sync_logs import EXAMPLE, SyncLog
from webapp.clock import now
from webapp.models import OperationType, SyncStatus
from webapp.services import changes
from webapp.services.webhooks import signing


def run(command: list[str], folder: Path, clinic: Clinic) -> subprocess.CompletedProcess[str]:
    """Run a program of the documentation for this clinic."""
    environ = {"API": clinic.manager.url, "TOKEN": str(clinic.manager.token)}
    return run_with(command, folder, environ | {"ORG_ID": str(clinic.id)})


def run_with(
    command: list[str], folder: Path, environ: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a program of the documentation against whatever these settings lead to."""
    return subprocess.run(
        command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def operations(system: RunningSystem) -> list[Operation]:
    chapters = reference(create_app())
    return [operation for operations in chapters.values() for operation in operations]


def test_every_request_of_the_page_is_understood(
    operations: list[Operation], clinic: Clinic, tmp_path: Path
) -> None:
    log = clinic.synced()
    assert len(operations) >= 10
    for operation in operations:
        request = operation.request.replace("curl ", "curl -s -w '\\n%{http_code}' ")
        if operation.definition.tag == "Webhooks":
            webhook, message = webhook_of(clinic)
            request = request.replace("webhooks/1/1", f"webhooks/1/{webhook}")
            request = request.replace("deliveries/1", f"deliveries/{message}")
            request = request.replace("webhooks/1", "webhooks/ORG")
            request = request.replace("ORG", str(clinic.id))
        elif "cliniko" in request:
            request = request.replace("sync-logs/1/1", "sync-logs/1/LOG")
            request = request.replace("/1", f"/{clinic.id}")
        request = request.replace("LOG", str(log["id"]))

        done = run(["bash", "-euc", request], tmp_path, clinic)

        body, _, status = done.stdout.rpartition("\n")
        refusals = {"issue_token": "401", "cancel": "409"}
        refusals |= dict.fromkeys(("sync_all", "sync_changes"), "429")
        assert status == refusals.get(operation.name, str(operation.definition.status)), done
        if status in ("200", "201"):
            assert list(json.loads(body)) == list(json.loads(operation.answer))


def webhook_of(clinic: Clinic) -> tuple[int, int]:
    """A webhook of the clinic and a message to it."""
    path = f"/cliniko/webhooks/{clinic.id}"
    for old in clinic.manager.get(path).json()["webhooks"]:
        clinic.manager.ask("DELETE", f"{path}/{old['id']}")
    body = {"address": "https://example.com/", "events": ["sync.failed"]}
    webhook = clinic.manager.post(path, json=body).json()["webhook"]["id"]
    message = clinic.manager.post(f"{path}/{webhook}/test").json()["id"]
    return webhook, message


def test_the_program_in_curl(clinic: Clinic, tmp_path: Path) -> None:
    done = run([str(EXAMPLES / "sync.sh")], tmp_path, clinic)

    assert done.returncode == 0, done
    assert '"progress_percent":100.0' in done.stdout
    assert "All patients are in step." in done.stdout


def test_the_program_in_python(clinic: Clinic, tmp_path: Path) -> None:
    done = run([sys.executable, str(EXAMPLES / "sync.py")], tmp_path, clinic)

    assert done.returncode == 0, done
    assert "100.0 %" in done.stdout
    assert "7 active patients." in done.stdout


def test_the_program_that_follows_what_changes(
    system: RunningSystem, clinic: Clinic, tmp_path: Path
) -> None:
    command = [sys.executable, str(EXAMPLES / "changes.py")]
    clinic.synced()
    first, second = run(command, tmp_path, clinic), run(command, tmp_path, clinic)

    assert first.returncode == second.returncode == 0, (first, second)
    told = [line.split()[2] for line in first.stdout.splitlines()]
    assert sorted(told) == clinic.account.ids()
    assert second.stdout == ""


@pytest.mark.parametrize("kept", [None, '{"cursor": 1}'])
def test_a_follower_who_missed_changes_is_told_so_until_somebody_has_read_all_patients(
    system: RunningSystem, clinic: Clinic, tmp_path: Path, kept: str | None
) -> None:
    clinic.synced()
    system.inside(lambda: list(iter(lambda: changes.delete_old(now()), 0)))
    cursor = tmp_path / f"cursor-{clinic.id}.json"
    if kept is not None:
        cursor.write_text(kept)
    command = [sys.executable, str(EXAMPLES / "changes.py")]

    for _ in range(2):
        late = run(command, tmp_path, clinic)
        assert late.returncode == 1
        assert "state=all&after_id=0" in late.stderr
        assert f"write {{}} to {cursor.name}" in late.stderr

    cursor.write_text("{}")
    assert run(command, tmp_path, clinic).returncode == 0
    assert run(command, tmp_path, clinic).returncode == 0


def test_a_follower_keeps_no_cursor_of_changes_that_it_could_not_tell(
    clinic: Clinic, tmp_path: Path
) -> None:
    clinic.synced()
    environ = {"API": clinic.manager.url, "TOKEN": str(clinic.manager.token)}
    environ |= {"ORG_ID": str(clinic.id), "PYTHONUNBUFFERED": ""}
    nobody, telling = os.pipe()
    os.close(nobody)  # who reads what it tells is gone

    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "changes.py")],
        cwd=tmp_path,
        env=os.environ | environ,
        stdout=telling,
        stderr=subprocess.DEVNULL,
        timeout=60,
    )
    os.close(telling)

    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def in_javascript(name: str, request: pytest.FixtureRequest, folder: Path) -> Path:
    """Translated by the compiler, which first checks it strictly."""
    assert request.config.cache is not None
    try:
        return compiled(EXAMPLES / name, folder, request.config.cache.mkdir("typescript"))
    except TypeScriptUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def program_in_typescript(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Checked and translated once: the compiler takes longer than what is tried with it."""
    return in_javascript("sync.ts", request, tmp_path_factory.mktemp("typescript"))


def test_the_program_in_typescript(
    clinic: Clinic, tmp_path: Path, program_in_typescript: Path
) -> None:
    done = run(["node", str(program_in_typescript)], tmp_path, clinic)

    assert done.returncode == 0, done
    assert "100 %" in done.stdout
    assert "records stored." in done.stdout


def command_of(program: str, in_typescript: Path) -> list[str]:
    """What runs one of the programs that start a sync and watch it."""
    return {
        "sync.sh": [str(EXAMPLES / "sync.sh")],
        "sync.py": [sys.executable, str(EXAMPLES / "sync.py")],
        "sync.ts": ["node", str(in_typescript)],
    }[program]


@pytest.mark.parametrize("program", ["sync.sh", "sync.py", "sync.ts"])
def test_a_copy_that_is_not_whole_is_no_success(
    clinic: Clinic, tmp_path: Path, program_in_typescript: Path, program: str
) -> None:
    clinic.account.create(first_name="Olivia", date_of_birth="0000-00-00")

    done = run(command_of(program, program_in_typescript), tmp_path, clinic)

    assert done.returncode == 1, done
    assert "Completed, but not all patients are in step." in done.stdout + done.stderr


@pytest.mark.parametrize("program", ["sync.sh", "sync.py", "sync.ts"])
def test_a_sync_that_fails_ends_the_program_with_its_reason(
    system: RunningSystem,
    clinic: Clinic,
    tmp_path: Path,
    program: str,
    program_in_typescript: Path,
) -> None:
    system.simulator.faults.add("status", account=clinic.account.id, status=401, times=1)

    done = run(command_of(program, program_in_typescript), tmp_path, clinic)

    assert done.returncode == 1, done
    said = (done.stdout + done.stderr).lower()
    assert "cliniko" in said
    assert "traceback" not in said


@pytest.mark.parametrize("program", ["sync.sh", "sync.py", "sync.ts"])
def test_a_start_that_is_refused_ends_the_program_though_the_sync_before_completed(
    clinic: Clinic, tmp_path: Path, program: str, program_in_typescript: Path
) -> None:
    clinic.synced()

    done = run(command_of(program, program_in_typescript), tmp_path, clinic)

    assert done.returncode == 1, done
    assert "less than five minutes ago" in done.stdout + done.stderr
    assert "in step" not in done.stdout


Answers = Iterator[tuple[int, dict[str, str], bytes] | None]  # None: it hangs up
RUNNING = EXAMPLE.model_copy(update={"id": 5})
_SIDE = CertifiedSide(active=641, archived=0, merged=0, deleted=0, digest="0" * 64)
_CERTIFICATE = Certificate(in_step=True, cliniko=_SIDE, stored=_SIDE)
WHOLE = EXAMPLE.metadata.model_copy(update={"certificate": _CERTIFICATE})
COMPLETED = RUNNING.model_copy(
    update={"status": SyncStatus.COMPLETED, "records_success": 641, "metadata": WHOLE}
)
ANOTHER = RUNNING.model_copy(update={"id": 6, "status": SyncStatus.FAILED})


def in_trouble(
    answers: Answers, busy_with: SyncLog | None = None, keys: list[str] | None = None
) -> type[BaseHTTPRequestHandler]:
    """Starts sync 5 and gives these answers about it; meanwhile another one is the newest.

    Where it is `busy_with` another, it refuses the first start; `keys` are those of the starts.
    """
    asked = [] if keys is None else keys

    class Trouble(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers["Idempotency-Key"])
            if busy_with is not None and len(asked) == 1:
                error = {"error": True, "error_code": "SYNC_ALREADY_RUNNING", "message": "Wait."}
                told = error | {"details": {"sync_log_id": busy_with.id}}
                self.tell(429, {}, json.dumps(told, separators=(",", ":")).encode())
            else:
                self.tell(200, {}, b'{"success":true,"sync_log_id":5}')

        def do_GET(self) -> None:
            if busy_with is not None and f"/sync-logs/1/{busy_with.id}" in self.path:
                self.tell(200, {}, busy_with.model_dump_json().encode())
            elif "/sync-logs/1/5" in self.path:
                answer = next(answers)
                if answer is not None:
                    self.tell(*answer)
            elif "/active-patients/" in self.path:
                self.tell(200, {}, b'{"pagination":{"total":7}}')
            else:
                newest = f'{{"logs":[{ANOTHER.model_dump_json()}]}}'
                self.tell(200, {"ETag": "6"}, newest.encode())

        def tell(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Trouble


@pytest.mark.parametrize("program", ["sync.sh", "sync.py", "sync.ts"])
def test_trouble_that_passes_and_another_sync_meanwhile_hold_no_program_up(
    tmp_path: Path, program: str, program_in_typescript: Path
) -> None:
    error, soon = b'{"error":true,"error_code":"X","message":"Trouble"}', {"Retry-After": "1"}
    running, completed = (each.model_dump_json().encode() for each in (RUNNING, COMPLETED))
    answers: Answers = iter(
        [
            *((503, soon, error), None, (200, {}, running)),
            *((429, soon, error), (502, {}, b"<html>"), (200, {}, completed)),
        ]
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), in_trouble(answers)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        environ = {"API": f"http://127.0.0.1:{server.server_port}", "TOKEN": "t", "ORG_ID": "1"}
        done = run_with(command_of(program, program_in_typescript), tmp_path, environ)
        server.shutdown()

    assert done.returncode == 0, done
    assert list(answers) == []
    told = "All patients are in step" if program == "sync.sh" else "641 records stored"
    assert told in done.stdout


@pytest.mark.parametrize("status", [SyncStatus.COMPLETED, SyncStatus.FAILED])
@pytest.mark.parametrize("program", ["sync.sh", "sync.py", "sync.ts"])
def test_after_a_sync_of_others_that_read_only_some_patients_the_program_starts_its_own(
    tmp_path: Path, program: str, status: SyncStatus, program_in_typescript: Path
) -> None:
    of_changes = {"id": 4, "operation_type": OperationType.CHANGED_PATIENTS, "status": status}
    theirs, keys = RUNNING.model_copy(update=of_changes), list[str]()
    answers: Answers = iter([(200, {}, COMPLETED.model_dump_json().encode())])
    busy = in_trouble(answers, theirs, keys)
    with ThreadingHTTPServer(("127.0.0.1", 0), busy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        environ = {"API": f"http://127.0.0.1:{server.server_port}", "TOKEN": "t", "ORG_ID": "1"}
        done = run_with(command_of(program, program_in_typescript), tmp_path, environ)
        server.shutdown()

    assert done.returncode == 0, done
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert list(answers) == []


FORGED = [  # sent so many seconds from now, what was done to it, and the answer
    (0, "ours", 204),
    (0, "another body", 401),
    (0, "another secret", 401),
    (0, "no signature", 401),
    (-400, "ours", 401),
    (400, "ours", 401),
]


def forged(how: str, seconds: int, secret: str) -> tuple[dict[str, str], bytes]:
    """A message of ours, or one that somebody has tampered with."""
    body = b'{"event":"webhook.test","organization_id":7,"data":{"name":"\xc3\xa4"}}'
    key = signing.new_secret() if how == "another secret" else secret
    old = signing.new_secret()
    headers = signing.headers("msg_1", now() + timedelta(seconds=seconds), body, [old, key])
    if how == "no signature":
        headers["webhook-signature"] = ""
    return headers, body.replace(b"7", b"8") if how == "another body" else body


@pytest.fixture
def receiver_in_python() -> Iterator[tuple[str, str]]:
    """The example, running, and its secret."""
    port, secret = free_port(), signing.new_secret()
    environ = os.environ | {"SECRET": secret, "PORT": str(port)}
    program = [sys.executable, str(EXAMPLES / "verify.py")]
    with subprocess.Popen(program, env=environ, stderr=subprocess.DEVNULL) as process:

        def listens() -> bool:
            with socket.socket() as sock:
                return sock.connect_ex(("localhost", port)) == 0

        wait_until(listens)
        yield f"http://localhost:{port}/", secret
        process.kill()


def test_the_receiver_in_python_takes_only_what_is_ours(
    receiver_in_python: tuple[str, str],
) -> None:
    url, secret = receiver_in_python
    for seconds, how, status in FORGED:
        headers, body = forged(how, seconds, secret)
        answer = requests.post(url, data=body, headers=headers, timeout=10)
        assert answer.status_code == status, (how, seconds)


def test_the_receiver_in_python_tries_again_what_it_could_not_do(
    receiver_in_python: tuple[str, str],
) -> None:
    url, secret = receiver_in_python
    headers = signing.headers("msg_1", now(), b'{"event":"webhook.test"}', [secret])
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):  # it ends without an answer
            requests.post(url, data=b'{"event":"webhook.test"}', headers=headers, timeout=10)


def test_the_receiver_in_typescript_takes_only_what_is_ours(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    program, secret = in_javascript("verify.ts", request, tmp_path), signing.new_secret()
    for seconds, how, status in FORGED:
        headers, body = forged(how, seconds, secret)
        environ = {
            "SECRET": secret,
            "ID": headers["webhook-id"],
            "TIMESTAMP": headers["webhook-timestamp"],
            "SIGNATURE": headers["webhook-signature"],
            "BODY": body.decode(),
        }
        done = subprocess.run(
            ["node", str(program)], env=os.environ | environ, capture_output=True, text=True
        )
        assert (done.returncode == 0) == (status == 204), (how, seconds, done)
        if status == 204:
            assert done.stdout == "webhook.test of clinic 7\n"


def test_the_programs_are_the_ones_on_the_page(system: RunningSystem) -> None:
    page = system.nobody.get("//api/docs").text
    for path in EXAMPLES.iterdir():
        first_line = path.read_text().splitlines()[1]
        assert first_line.replace("'", "&#39;") in page
    assert EXAMPLES == ROOT / "docs" / "examples"
