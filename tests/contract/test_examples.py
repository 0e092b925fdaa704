"""Every example of the documentation does what it says: requests one by one, and whole programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import ROOT
from tests.support.running_system import Clinic, RunningSystem
from tests.support.typescript import TypeScriptUnavailable, compiled
from webapp import create_app
from webapp.api.reference import EXAMPLES, Operation, reference
from webapp.clock import now
from webapp.services import changes


def run(command: list[str], folder: Path, clinic: Clinic) -> subprocess.CompletedProcess[str]:
    """Run a program of the documentation for this clinic."""
    environ = {"API": clinic.manager.url, "TOKEN": str(clinic.manager.token)}
    environ["ORG_ID"] = str(clinic.id)
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
        request = request.replace("sync-logs/1/1", "sync-logs/1/LOG")
        request = request.replace("/1", f"/{clinic.id}") if "cliniko" in request else request
        request = request.replace("LOG", str(log["id"]))

        done = run(["bash", "-euc", request], tmp_path, clinic)

        body, _, status = done.stdout.rpartition("\n")
        refusals = {"issue_token": "401", "cancel": "409"}
        refusals |= dict.fromkeys(("sync_all", "sync_changes"), "429")
        assert status == refusals.get(operation.name, str(operation.definition.status)), done
        if status == "200":
            assert list(json.loads(body)) == list(json.loads(operation.answer))


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

    system.inside(lambda: changes.delete_old(now()))
    (tmp_path / f"cursor-{clinic.id}.json").write_text('{"cursor": 0}')
    late = run(command, tmp_path, clinic)
    assert late.returncode == 1
    assert "state=all" in late.stderr
    assert run(command, tmp_path, clinic).returncode == 0


@pytest.fixture
def program_in_typescript(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Translated by the compiler, which first checks it strictly."""
    assert request.config.cache is not None
    try:
        return compiled(EXAMPLES / "sync.ts", tmp_path, request.config.cache.mkdir("typescript"))
    except TypeScriptUnavailable as reason:
        pytest.skip(str(reason))


def test_the_program_in_typescript(
    clinic: Clinic, tmp_path: Path, program_in_typescript: Path
) -> None:
    done = run(["node", str(program_in_typescript)], tmp_path, clinic)

    assert done.returncode == 0, done
    assert "100 %" in done.stdout
    assert "records stored." in done.stdout


@pytest.mark.parametrize("program", ["sync.sh", "sync.py", "sync.ts"])
def test_a_sync_that_fails_ends_the_program_with_its_reason(
    system: RunningSystem,
    clinic: Clinic,
    tmp_path: Path,
    program: str,
    program_in_typescript: Path,
) -> None:
    system.simulator.faults.add("status", account=clinic.account.id, status=401, times=1)
    commands = {
        "sync.sh": [str(EXAMPLES / "sync.sh")],
        "sync.py": [sys.executable, str(EXAMPLES / "sync.py")],
        "sync.ts": ["node", str(program_in_typescript)],
    }

    done = run(commands[program], tmp_path, clinic)

    assert done.returncode == 1, done
    said = (done.stdout + done.stderr).lower()
    assert "cliniko" in said
    assert "traceback" not in said


def test_the_programs_are_the_ones_on_the_page(system: RunningSystem) -> None:
    page = system.nobody.get("//api/docs").text
    for path in EXAMPLES.iterdir():
        first_line = path.read_text().splitlines()[1]
        assert first_line.replace("'", "&#39;") in page
    assert EXAMPLES == ROOT / "docs" / "examples"
