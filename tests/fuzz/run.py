"""Everything that the published description allows, and much that it does not, asked of the running
system by schemathesis with each role.

    script/fuzz --cases 10000 --seed 7
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from config import ROOT
from tests.support.postgres_server import postgres_server
from tests.support.running_system import Caller, Clinic, RunningSystem, running_system
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import Organization

# These two would need a resource that the API makes and removes; ours makes none.
CONFIG = Path(__file__).with_name("schemathesis.toml")
NOT_FOR_US = "use_after_free,ensure_resource_availability"
ROLES = ("admin", "manager", "viewer", "manager of another clinic", "nobody")
PHASES = ("examples", "fuzzing")


@dataclass(frozen=True)
class Outcome:
    """What one role has been answered."""

    role: str
    operations: int
    cases: int
    answers: Counter[int]
    failures: int
    log: str

    def __str__(self) -> str:
        answers = ", ".join(
            f"{count} of {status}" for status, count in sorted(self.answers.items())
        )
        return (
            f"{self.role}: {self.operations} operations, {self.cases} cases, "
            f"{self.failures} failures ({answers})"
        )


def main() -> int:
    """Ask for a long time; print a line for each role. Returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000, help="about so many in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    said = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        settings = {}
        if said.database == "postgresql":
            settings["DATABASE_URL"] = stack.enter_context(postgres_server()).create("fuzz")
        system = stack.enter_context(running_system(folder, **settings))
        failed = 0
        for outcome in fuzz(system, examples=max(1, said.cases // 60), seed=said.seed):
            print(outcome, flush=True)
            if outcome.failures:
                print(outcome.log)
            failed += outcome.failures
    return 1 if failed else 0


def fuzz(
    system: RunningSystem, *, examples: int, seed: int, covered: Container[str] = ROLES
) -> Iterator[Outcome]:
    """Ask with each role; `examples` is the most for each operation and way of making them. The
    `covered` roles try every bound of every value beside, most of what is asked."""
    with clinic_that_is_synced_in_vain(system) as clinic:
        stranger = system.clinic(active=1).manager
        people = (system.admin, clinic.manager, clinic.viewer, stranger, system.nobody)
        for role, caller in zip(ROLES, people, strict=True):
            phases = [*PHASES, *(["coverage"] if role in covered else [])]
            yield _ask(system, clinic, role, caller, phases, examples=examples, seed=seed)


@contextmanager
def clinic_that_is_synced_in_vain(system: RunningSystem) -> Iterator[Clinic]:
    """A clinic with patients whose next syncs fail at once, so that starts go on being accepted."""
    clinic = system.clinic()
    clinic.synced()
    system.simulator.faults.add("status", account=clinic.account.id, status=401, times=None)
    system.inside(lambda: _forget_window(clinic))
    yield clinic
    system.simulator.faults.clear()


def _forget_window(clinic: Clinic) -> None:
    with transaction():
        db.session.get_one(Organization, clinic.id).credentials_saved_at = now()


def _ask(
    system: RunningSystem,
    clinic: Clinic,
    role: str,
    caller: Caller,
    phases: list[str],
    *,
    examples: int,
    seed: int,
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        report = Path(folder) / "report.ndjson"
        command = [sys.executable, "-m", "schemathesis.cli"]
        command += ["--config-file", str(CONFIG), "run"]
        command += [f"{system.url}/api/v1/openapi.json", "--no-color", "--checks", "all"]
        command += ["--exclude-checks", NOT_FOR_US, "--max-examples", str(examples)]
        command += ["--seed", str(seed), "--generation-database", "none", "--workers", "1"]
        command += ["--phases", ",".join(phases), "--continue-on-failure"]
        command += ["--warnings", "off", "--report", "ndjson", "--report-ndjson-path", str(report)]
        if caller.token:
            command += ["--header", f"Authorization: Bearer {caller.token}"]
        environ = {
            "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
            "FUZZ_REDIS_URL": system.app.config["REDIS_URL"],
            "FUZZ_ORGANIZATION": str(clinic.id),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            command, cwd=folder, env=os.environ | environ, capture_output=True, text=True
        )
        return _outcome(role, done, report)


def _outcome(role: str, done: subprocess.CompletedProcess[str], report: Path) -> Outcome:
    """Read from the report what was asked and what was found wrong."""
    operations: set[str] = set()
    answers: Counter[int] = Counter()
    cases = failures = 0
    finished = False
    for line in report.read_text().splitlines():
        ((kind, event),) = json.loads(line).items()
        finished = finished or kind == "EngineFinished"
        if kind != "ScenarioFinished":
            continue
        recorded = event["recorder"]
        operations.add(recorded["label"])
        for asked in recorded.get("interactions", {}).values():
            cases += 1
            answers[asked["response"]["status_code"] if asked["response"] else 0] += 1
        for checks in recorded.get("checks", {}).values():
            failures += sum(check["status"] != "success" for check in checks)
    log = done.stdout + done.stderr
    if not finished or (done.returncode and not failures):
        raise RuntimeError(log)  # schemathesis itself has had trouble
    return Outcome(role, len(operations), cases, answers, failures, log)


if __name__ == "__main__":
    sys.exit(main())
