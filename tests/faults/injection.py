"""One injection: a clinic of its own, a fault, a sync watched to its end, and the promises checked.

I1  nobody is lost: who was left alone is in the copy as in Cliniko once a sync has completed
I2  nobody is there twice
I3  nobody who exists is marked deleted; a sync that failed has marked nobody
I4  no sync runs for longer than 60 s after its owner has gone
I5  one running sync a clinic; a replaced attempt has written nothing
I6  status, error code and counters are the promised ones
I8  the sync of another clinic ends as without the fault
(I7, that nothing is told where it may not be, is shown by the tests of privacy.)
After it a clean sync must complete, and the copy must then equal Cliniko.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, TypeVar

import requests
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from simulator.account import ClinikoAccount
from tests.cast import make_user
from tests.faults.parts import Parts
from tests.sync.copies import Copy, copy_of, truth_of
from webapp.errors import NotFound
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, Patient, Role, SyncLog, SyncOrigin
from webapp.services import organizations, tokens
from webapp.sync import history
from webapp.sync.start import start_sync

LOOK_SECONDS = 0.1
POLL_SECONDS = 1.1  # sixty a minute, over HTTP
STUCK_AFTER = 60.0
TAKEN_OVER_WITHIN = 30.0
CLEAN_WITHIN = 90.0


@dataclass
class Record:
    """What came of an injection: a line of the report."""

    fault: str
    name: str
    at: str
    seed: int
    database: str
    expected: str
    seen: str = ""
    lost: int = 0
    duplicates: int = 0
    false_deletions: int = 0
    stuck: int = 0
    seconds: float = 0.0
    take_over_seconds: float | None = None
    problems: list[str] = field(default_factory=list)

    def to_line(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Look:
    """A sync at one moment."""

    time: float
    status: str
    code: str | None
    attempt: int
    worker: str | None
    phase: str
    percent: float
    success: int
    failed: int

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def outcome(self) -> str:
        return f"{self.status} {self.code}" if self.code else self.status


class Injection:
    """A clinic with an account of its own, to which a fault is done."""

    def __init__(self, parts: Parts, record: Record, *, with_copy: bool, **account: Any) -> None:
        self.parts = parts
        self.record = record
        self.random = Random(f"{record.fault} {record.at} {record.seed}")
        number = next(parts.numbers)
        self.key = f"invented-{number}-{record.seed}-au1"
        account = {
            "active": 405 + self.random.randrange(60),
            "archived": 105 + self.random.randrange(20),
            "merged": 3,
            "deleted": 4,
        } | account
        self.account = ClinikoAccount.generate(
            account_id=str(1000 + number), name=f"Clinic {number}", seed=number, **account
        )
        self.account.add_key(self.key)
        parts.simulator.accounts = (*parts.simulator.accounts, self.account)
        email = f"admin-{number}@example.com"
        with parts.inside():
            organization = again_if_locked(lambda: organizations.add(self.account.name, self.key))
            self.organization_id = organization.id
            admin = again_if_locked(lambda: make_user(email, Role.ADMIN))
            self.admin_id = admin.id
            self.token, _ = again_if_locked(lambda: tokens.issue(admin, name="faults"))
        self.touched: set[str] = set()
        self.unreadable: dict[str, dict[str, Any]] = {}  # what was there before
        self.may_answer = {200, 503}
        self.problems = record.problems
        self.looks: list[Look] = []
        self.hit_at: float | None = None  # when a process was killed
        self.sync_id: int | None = None
        self.peak_kib = 0
        self._watching: Thread | None = None
        self._enough = Event()
        self.before: dict[str, Copy] = {}
        if with_copy:
            self.has_a_copy()

    # What a fault is made of.

    def has_a_copy(self) -> None:
        """The clinic was synced before."""
        if not self.before:
            self._run_clean("the sync before the fault")
            self.before = self.ours()

    def trouble(self, kind: str, **options: Any) -> None:
        """Cliniko has this trouble with this clinic alone."""
        self.parts.simulator.faults.add(kind, account=self.account.id, **options)

    def slow(self, ms: int) -> None:
        """Each answer takes so long: time in which something can happen."""
        self.trouble("slow", ms=ms, times=None)

    def order(self, stage: str, what: str, nth: int = 1) -> None:
        """A process is to meet its fate at this stage of this clinic's sync."""
        Path(self.parts.stages, f"{self.organization_id}.{stage}").write_text(f"{what} {nth}")

    def met(self, stage: str) -> dict[str, Any] | None:
        """Who met the order for this stage, and when; None while nobody has."""
        path = Path(self.parts.stages, f"{self.organization_id}.{stage}.met")
        return json.loads(path.read_text()) if path.exists() else None

    def ask(self, method: str, path: str, **options: Any) -> requests.Response | None:
        """Ask the API as the clinic's admin; None if no answer came."""
        headers = {"Authorization": f"Bearer {self.token}"}
        address = f"{self.parts.url}/api/v1{path}"
        try:
            return requests.request(method, address, headers=headers, timeout=30, **options)
        except requests.RequestException:
            return None

    def start(self) -> requests.Response | None:
        """Press the button, and watch the sync from then on."""
        answer = self.ask("POST", f"/cliniko/sync-all/{self.organization_id}")
        if answer is not None and answer.status_code == 200:
            self.sync_id = answer.json()["sync_log_id"]
        elif (newest := self._newest_id()) is not None:
            self.sync_id = newest  # the answer was lost; the sync is there all the same
        self.watch()
        return answer

    def watch(self) -> None:
        """Begin to look at the sync, ten times a second and over HTTP as often as one may."""
        self._watching = Thread(target=self._watch, daemon=True)
        self._watching.start()

    def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> bool:
        """Wait for something; False, and a problem noted, if it does not come in time."""
        deadline = time.monotonic() + seconds * self.parts.slack
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.02)
        name = getattr(condition, "__name__", "")
        self.problems.append(f"waited {seconds:.0f} s in vain{f' for {name}' if name else ''}")
        return False

    def until_stored(self, records: int = 1) -> bool:
        """Wait until the sync has stored something."""

        def stored() -> bool:
            return bool(self.looks) and self.looks[-1].success + self.looks[-1].failed >= records

        return self.until(stored)

    def until_met(self, stage: str) -> dict[str, Any] | None:
        """Wait until an order was met."""
        if not self.until(partial(self.met, stage)):
            return None
        return self.met(stage)

    def is_over(self) -> bool:
        """Whether the sync has ended."""
        return bool(self.looks) and not self.looks[-1].running

    def working(self) -> dict[str, int]:
        """The `pid` of the work-horse that began this sync, and of its `parent`."""
        path = Path(self.parts.stages, f"{self.organization_id}.working")
        self.until(path.exists)
        pids: dict[str, int] = json.loads(path.read_text())
        return pids

    def says_on_its_page(self, words: str) -> bool:
        """Whether the card of the sync says this, to somebody who has signed in."""
        with self.parts.inside():
            organization = db.session.get_one(Organization, self.organization_id)
            log = history.latest(organization)
            return log is not None and words in self.parts.card(organization, log)

    @property
    def now_seen(self) -> Look | None:
        return self.looks[-1] if self.looks else None

    # The end, and the promises.

    def too_long(self, seconds: float, within: float) -> bool:
        """Whether something took longer than it may."""
        return seconds > within * self.parts.slack

    def ends(self, *expected: str, within: float) -> None:
        """Wait for the end of the sync; it must be one of these, in time."""
        begun = self.looks[0].time if self.looks else time.time()
        deadline = time.monotonic() + within * self.parts.slack + 30
        while time.monotonic() < deadline and (not self.looks or self.looks[-1].running):
            time.sleep(0.02)
        self._enough.set()
        if self._watching is not None:
            self._watching.join(30)
        last = self.now_seen
        if last is None:
            self.problems.append("no sync was ever seen")
            return
        self.record.seen = last.outcome
        self.record.seconds = round(last.time - begun, 2)
        if last.running:
            self.record.stuck = 1
            self.problems.append("the sync has no end")
        elif last.outcome not in expected:
            self.problems.append(f"ended as {last.outcome}, not as {' or '.join(expected)}")
        if self.too_long(self.record.seconds, within):
            self.problems.append(f"took {self.record.seconds} s, more than {within:.0f} s")
        self._check_looks()
        self._check_take_over()

    def check(self) -> None:
        """Compare the copy with Cliniko as it is right after the sync, and after a clean one."""
        self._compare(completed=self.record.seen == "completed")
        self.parts.simulator.faults.clear(account=self.account.id)
        for order in self.parts.stages.glob(f"{self.organization_id}.*"):
            order.unlink()
        self._run_clean("the clean sync after the fault")
        self.touched.clear()
        self._compare(completed=True)

    def ours(self) -> dict[str, Copy]:
        with self.parts.inside():
            return copy_of(db.session.get_one(Organization, self.organization_id))

    def run_sync(self, seconds: float = CLEAN_WITHIN) -> Look | None:
        """A sync by command line, from start to end."""
        with self.parts.inside():
            organization = db.session.get_one(Organization, self.organization_id)
            sync_id = start_sync(
                organization, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND
            ).id
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            look = self._look(sync_id)
            if look is not None and not look.running:
                return look
            time.sleep(0.05)
        return None

    def _run_clean(self, which: str) -> None:
        minutes_of_cliniko = len(self.account.ids()) / 100 / 200
        look = self.run_sync(CLEAN_WITHIN * (1 + minutes_of_cliniko))
        if look is None or look.status != "completed":
            self.problems.append(f"{which} has not completed: {look and look.outcome}")
            return
        with self.parts.inside():
            newest = history.latest(db.session.get_one(Organization, self.organization_id))
            certificate = newest.progress.get("certificate") if newest else None
        if not certificate or certificate["in_step"] == bool(self.unreadable):
            self.problems.append(f"{which} certifies {certificate}")

    def _compare(self, *, completed: bool) -> None:
        ours, truth = self.ours(), truth_of(self.account)
        record, left_alone = self.record, set(truth) - self.touched - self.unreadable.keys()
        if completed:
            lost = {
                key
                for key in left_alone
                if key not in ours
                or (
                    (truth[key].merged_into not in self.touched)
                    and _essence(ours[key]) != _essence(truth[key])
                )
            }
            record.lost += len(lost)
        else:
            lost = self.before.keys() - ours.keys()
            record.lost += len(lost)
            marked = _deleted(ours) - _deleted(self.before) if self.before else set()
            if marked:
                record.false_deletions += len(marked)
                self.problems.append("a failed sync has marked patients deleted")
        if lost:
            self.problems.append(f"lost or different: {sorted(lost)[:5]}")
        if extra := ours.keys() - truth.keys():
            self.problems.append(f"nobody at Cliniko: {sorted(extra)[:5]}")
        if false := _deleted(ours) - _deleted(truth):
            record.false_deletions += len(false)
            self.problems.append(f"wrongly marked deleted: {sorted(false)[:5]}")
        with self.parts.inside():
            query = (
                select(func.count() - func.count(Patient.cliniko_patient_id.distinct()))
                .select_from(Patient)
                .where(Patient.organization_id == self.organization_id)
            )
            if twice := db.session.scalar(query) or 0:
                record.duplicates += twice
                self.problems.append(f"{twice} patients are there twice")

    def _check_looks(self) -> None:
        before: Look | None = None
        for look in self.looks:
            if look.running and look.percent > 99.9:
                self.problems.append(f"{look.percent} % while running")
            if look.status == "completed" and look.percent != 100.0:
                self.problems.append(f"completed with {look.percent} %")
            if before is not None:
                if look.percent < before.percent:
                    self.problems.append(f"progress fell from {before.percent} to {look.percent}")
                if look.attempt < before.attempt:
                    self.problems.append("an earlier attempt has written")
                if not before.running and look.running:
                    self.problems.append("a closed sync runs again")
            before = look

    def _check_take_over(self) -> None:
        if self.hit_at is None:
            return
        later = (
            look.time
            for look in self.looks
            if look.time > self.hit_at and (not look.running or (look.attempt > 1 and look.worker))
        )
        taken = next(later, None)
        seconds = round((taken or time.time()) - self.hit_at, 2)
        self.record.take_over_seconds = seconds
        if self.too_long(seconds, TAKEN_OVER_WITHIN):
            self.problems.append(f"taken over after {seconds} s")
        if seconds > STUCK_AFTER:
            self.record.stuck = 1

    # Looking.

    def _watch(self) -> None:
        polled = 0.0
        while not self._enough.is_set():
            if self.sync_id is None:
                self.sync_id = self._newest_id()
            look = self._look(self.sync_id) if self.sync_id is not None else None
            if look is not None:
                self.looks.append(look)
                if not look.running:
                    return
            if time.monotonic() - polled >= POLL_SECONDS:
                polled = time.monotonic()
                self._poll()
                self._weigh()
            self._enough.wait(LOOK_SECONDS)

    def _look(self, sync_id: int) -> Look | None:
        try:
            with self.parts.inside():
                organization = db.session.get(Organization, self.organization_id)
                return _look_of(history.get(organization, sync_id)) if organization else None
        except (NotFound, SQLAlchemyError):
            return None  # the database is what was hit

    def look_again(self) -> Look | None:
        """The sync as it stands now."""
        return None if self.sync_id is None else self._look(self.sync_id)

    def _newest_id(self) -> int | None:
        with suppress(SQLAlchemyError), self.parts.inside():
            return db.session.scalar(
                select(func.max(SyncLog.id)).where(
                    SyncLog.organization_id == self.organization_id,
                    SyncLog.origin == SyncOrigin.API,
                )
            )
        return None

    def _poll(self) -> None:
        """What a client sees: the sync log as JSON, or an error in the envelope."""
        answer = self.ask("GET", f"/cliniko/sync-logs/{self.organization_id}?limit=1")
        if answer is None:
            return  # the web server is what was hit
        body = answer.json()
        if answer.status_code not in self.may_answer:
            self.problems.append(f"sync-logs answered {answer.status_code}")
        if answer.status_code != 200:
            if "error_code" not in body:
                self.problems.append("an error without the envelope")
            return
        for log in body["logs"]:
            counted = log["records_success"] + log["records_failed"]
            if log["records_processed"] != counted:
                self.problems.append("processed is not success plus failed")
            if (log["completed_at"] is None) != (log["status"] == "running"):
                self.problems.append("completed_at does not fit the status")

    def _weigh(self) -> None:
        working = Path(self.parts.stages, f"{self.organization_id}.working")
        with suppress(OSError, ValueError, StopIteration):
            pid = json.loads(working.read_text())["pid"]
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            peak = next(line for line in lines if line.startswith("VmHWM"))
            self.peak_kib = max(self.peak_kib, int(peak.split()[1]))


# What is done in an injection: it begins the sync and sees to its trouble.
Action = Callable[[Injection], None]


T = TypeVar("T")


def again_if_locked(do: Callable[[], T]) -> T:
    """What is only made ready for a fault may wait for SQLite's one lock, however many want it."""
    for _ in range(10):
        with suppress(OperationalError):
            return do()
    return do()


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def in_transaction(injection: Injection, do: Callable[[], Any]) -> None:
    """Change something in the database, as an admin would."""

    def change() -> None:
        with transaction():
            do()

    with injection.parts.inside():
        again_if_locked(change)


def _look_of(log: SyncLog) -> Look:
    return Look(
        time.time(),
        str(log.status),
        log.error_code,
        log.attempt,
        log.worker,
        str(log.progress.get("phase")),
        float(log.progress.get("progress_percent") or 0.0),
        log.records_success,
        log.records_failed,
    )


def _deleted(copies: dict[str, Copy]) -> set[str]:
    return {key for key, copy in copies.items() if copy.state == "deleted"}


def _essence(copy: Copy) -> Copy | str:
    """Of a deleted patient Cliniko tells nothing more, while we keep what we knew."""
    return copy.state if copy.state == "deleted" else copy
