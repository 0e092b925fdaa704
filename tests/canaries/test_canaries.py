"""A6: secrets and patients stand where they belong and nowhere else.

One running system, everything at debug level, is taken through its main job and through whatever
can go wrong with it. Then everything that it has written or answered is searched.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from redis import Redis
from sqlalchemy import select

from config import redis_socket
from tests.cast import PASSWORD
from tests.support.canaries import Search, forms
from tests.support.processes import descendants, wait_until
from tests.support.running_system import Clinic, RunningSystem, running_system
from webapp.extensions import db
from webapp.models import SyncLog

METRICS_TOKEN = "a token that opens the metrics"
WRONG_KEY = "canary-of-a-wrong-key-77-au1"
WRONG_PASSWORD = "canary of a wrong password"
# What is kept of a patient, and in which columns alone.
PATIENT = {
    "first name": "Zephyrine",
    "last name": "Quackenbush",
    "preferred name": "Zephykins",
    "e-mail": "zq7731@example.com",
    "phone": "0491 570 313",
}
PATIENT_TABLES = {"patients"}
BAD_VALUE = "no-day-canary-8812"  # in a field that cannot be read
REFUSED = "Constrainova"  # the first name of somebody whom the database refuses


@dataclass(frozen=True)
class Seen:
    """What others can see of a process in /proc, and whether it can leave a core file."""

    title: str
    environment_mode: int
    environment_owner: int
    largest_core: tuple[str, ...]

    @classmethod
    def of(cls, pid: int) -> Seen:
        folder = Path(f"/proc/{pid}")
        environment = (folder / "environ").stat()
        limits = (folder / "limits").read_text().splitlines()
        (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
        return cls(
            (folder / "cmdline").read_bytes().decode("utf-8", "surrogateescape"),
            stat.S_IMODE(environment.st_mode),
            environment.st_uid,
            tuple(core),
        )


class Story:
    """What happened, and who may know what of it."""

    def __init__(
        self, system: RunningSystem, instance: Path, temporary: Path, secrets_: dict[str, str]
    ) -> None:
        self.system = system
        self.instance = instance
        self.temporary = temporary
        self.secrets = secrets_
        self.bodies: list[tuple[str, str, str]] = []  # who was answered, where, what
        self.processes: dict[int, Seen] = {}
        self.written: dict[str, bytes] = {}  # temporary files

    def note_processes(self) -> None:
        """What others on the machine can see of each process just now."""
        for pid in {self.system.pid, *descendants(self.system.pid)}:
            with suppress(FileNotFoundError, ProcessLookupError):
                self.processes[pid] = Seen.of(pid)

    def note_temporary_files(self) -> None:
        """What stands in them just now; also in those that no folder names any more."""
        for pid in {self.system.pid, *descendants(self.system.pid)}:
            with suppress(FileNotFoundError, ProcessLookupError):
                for opened in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(FileNotFoundError, ProcessLookupError):
                        name = str(opened.readlink())
                        if name.startswith(str(self.temporary)) and opened.is_file():
                            self.written[name] = opened.read_bytes()
        for path in self.temporary.rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file():
                    self.written[str(path)] = path.read_bytes()

    @contextmanager
    def temporary_files_watched(self) -> Iterator[None]:
        """Notes them again and again for as long as this lasts, and at its end."""
        over = Event()

        def watch() -> None:
            while not over.wait(0.005):
                self.note_temporary_files()

        with ThreadPoolExecutor(1) as thread:
            watching = thread.submit(watch)
            try:
                yield
            finally:
                over.set()
        watching.result()
        self.note_temporary_files()

    def stored_so_far(self, clinic: Clinic) -> int:
        """Patients stored by the newest sync of a clinic."""
        newest = select(SyncLog.records_success).where(SyncLog.organization_id == clinic.id)
        newest = newest.order_by(SyncLog.id.desc()).limit(1)
        return self.system.inside(lambda: db.session.scalar(newest)) or 0

    def answered(self, who: str, answer: requests.Response) -> requests.Response:
        headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.bodies.append((who, answer.request.path_url, f"{headers}\n{answer.text}"))
        return answer


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The main job with its failures, once for all searches."""
    instance = tmp_path_factory.mktemp("canaries")
    made = {
        "SECRET_KEY": f"canary-secret-key-{secrets.token_hex(16)}",
        "CREDENTIALS_KEYS": Fernet.generate_key().decode(),
        "AUDIT_KEYS": f"canary-audit-key-{secrets.token_hex(16)}",
    }
    temporary = tmp_path_factory.mktemp("temporary")
    with running_system(instance, LOG_LEVEL="debug", TMPDIR=str(temporary), **made) as system:
        story = Story(system, instance, temporary, made)
        with story.temporary_files_watched():
            _tell(story)
        yield story


def _tell(story: Story) -> None:
    system = story.system
    clinic, other = system.clinic(active=620), system.clinic()
    _seed(clinic)
    _refuse_in_the_database(story.instance)
    story.secrets |= {
        "API key": clinic.key,
        "wrong API key": WRONG_KEY,
        "password": PASSWORD,
        "wrong password": WRONG_PASSWORD,
        "JWT of the manager": str(clinic.manager.token),
        "JWT of the admin": str(system.admin.token),
    }
    browser = _signs_in(story, f"manager-{_number(clinic)}@example.com")
    _a_sync_with_trouble(story, clinic)
    _a_killed_worker(story, clinic)
    _looks_around(story, browser, clinic, other)
    _wrong_keys(story, browser, clinic)
    _errors_of_ours(story, browser, clinic)


def _number(clinic: Clinic) -> str:
    return clinic.name.split()[1]


def _seed(clinic: Clinic) -> None:
    known, bad, refused = clinic.account.ids()[2:5]
    clinic.account.edit(
        known,
        first_name=PATIENT["first name"],
        last_name=PATIENT["last name"],
        preferred_first_name=PATIENT["preferred name"],
        email=PATIENT["e-mail"],
        patient_phone_numbers=[{"phone_type": "Mobile", "number": PATIENT["phone"]}],
    )
    clinic.account.edit(bad, date_of_birth=BAD_VALUE)
    clinic.account.edit(refused, first_name=REFUSED)


def _refuse_in_the_database(instance: Path) -> None:
    with sqlite3.connect(instance / "patient_sync.db") as file:
        file.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON patients WHEN new.first_name = '"
            f"{REFUSED}' BEGIN SELECT RAISE(ABORT, 'constraint'); END"
        )
    file.close()


def _signs_in(story: Story, email: str) -> requests.Session:
    """With a wrong password first, at both doors."""
    browser, url = requests.Session(), story.system.url
    for password in (WRONG_PASSWORD, PASSWORD):
        page = browser.get(f"{url}/sign-in").text
        token = re.findall('name="csrf_token" value="([^"]+)"', page)[0]
        form = {"csrf_token": token, "email": email, "password": password}
        browser.post(f"{url}/sign-in", data=form, allow_redirects=False)
        story.secrets[f"CSRF token {password[:7]}"] = token
    for cookie in browser.cookies:
        story.secrets[f"session cookie {cookie.name}"] = str(cookie.value)
    for password in (WRONG_PASSWORD, PASSWORD):
        body = {"email": email, "password": password}
        answer = requests.post(f"{url}/api/v1/auth/token", json=body, timeout=30)
    story.secrets["JWT that was asked for"] = answer.json()["access_token"]
    return browser


def _a_sync_with_trouble(story: Story, clinic: Clinic) -> None:
    faults = story.system.simulator.faults
    faults.add("rate_limited", on="/patients", retry_after=1)
    faults.add("status", on="/patients", nth=2, status=500)
    log = clinic.synced()
    assert (log["status"], log["records_failed"]) == ("completed", 2), log


def _a_killed_worker(story: Story, clinic: Clinic) -> None:
    _give_the_window_back(story, clinic)
    story.system.simulator.faults.add("slow", on="/patients/archived", times=8, ms=4000)
    clinic.start()
    horses: list[int] = []

    def a_horse_works() -> bool:
        story.note_processes()
        horses[:] = [pid for pid in descendants(story.system.pid) if _is_a_horse(pid)]
        return bool(horses) and story.stored_so_far(clinic) > 0

    wait_until(a_horse_works)
    for pid in horses:
        os.kill(pid, signal.SIGKILL)
    *_, log = clinic.polled(seconds=90)
    assert log["status"] == "completed", log


def _is_a_horse(pid: int) -> bool:
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        own, others = (Path(f"/proc/{each}/cmdline").read_bytes() for each in (pid, parent))
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"worker.py" in own and b"worker.py" in others and b"tether" not in others


def _give_the_window_back(story: Story, clinic: Clinic) -> None:
    with sqlite3.connect(story.instance / "patient_sync.db") as file:
        file.execute("UPDATE sync_logs SET started_at = '2026-01-01 00:00:00.000000'")
    file.close()


def _looks_around(story: Story, browser: requests.Session, clinic: Clinic, other: Clinic) -> None:
    url, system = story.system.url, story.system
    name = PATIENT["last name"]
    page = browser.get(f"{url}/clinics/{clinic.id}/patients").text
    token = re.findall('name="csrf_token" value="([^"]+)"', page)[0]
    exported = browser.post(f"{url}/clinics/{clinic.id}/patient-export", data={"csrf_token": token})
    assert name in exported.text
    found = browser.post(
        f"{url}/clinics/{clinic.id}/patients", data={"csrf_token": token, "search": name}
    )
    assert name in found.text
    api = f"/cliniko/active-patients/{clinic.id}?search={name}"
    assert name in clinic.manager.get(api).text
    paths = [
        *(f"/cliniko/{what}/{clinic.id}" for what in ("status", "sync-logs", "test-connection")),
        *(api, "/organizations", f"/cliniko/sync-logs/{clinic.id}/1", "//metrics", "//clinics"),
        *(f"//clinics/{clinic.id}", f"//clinics/{clinic.id}/patients", "//no-such-page"),
    ]
    for who, caller in (
        ("a viewer", clinic.viewer),
        ("another manager", other.manager),
        ("nobody", system.nobody),
    ):
        for path in paths:
            story.answered(who, caller.get(path))
    opened = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    story.answered("metrics", requests.get(f"{url}/metrics", headers=opened, timeout=30))


def _wrong_keys(story: Story, browser: requests.Session, clinic: Clinic) -> None:
    settings = f"{story.system.url}/clinics/{clinic.id}/settings"
    for key in (WRONG_KEY, "a-evil.example/" + WRONG_KEY):
        page = browser.get(settings)
        token = re.findall('name="csrf_token" value="([^"]+)"', page.text)[0]
        form = {"csrf_token": token, "api_key": key}
        story.answered("the manager", browser.post(f"{settings}/api-key", data=form))
    story.answered("the manager", browser.get(settings))


def _errors_of_ours(story: Story, browser: requests.Session, clinic: Clinic) -> None:
    """A table that is gone: whatever is asked ends in an error, with the words of the question."""
    name, database = PATIENT["last name"], story.instance / "patient_sync.db"
    page = browser.get(f"{story.system.url}/clinics/{clinic.id}/patients").text
    token = re.findall('name="csrf_token" value="([^"]+)"', page)[0]
    _rename(database, "patients", "elsewhere")
    try:
        form = {"csrf_token": token, "search": name}
        address = f"{story.system.url}/clinics/{clinic.id}/patients"
        broken = story.answered("an error page", browser.post(address, data=form))
        path = f"/cliniko/active-patients/{clinic.id}?search={name}"
        refused = story.answered("an error", clinic.manager.get(path))
        assert min(broken.status_code, refused.status_code) >= 500
    finally:
        _rename(database, "elsewhere", "patients")


def _rename(database: Path, table: str, to: str) -> None:
    with sqlite3.connect(database, timeout=20) as file:
        file.execute(f"ALTER TABLE {table} RENAME TO {to}")
    file.close()


@pytest.fixture
def search(story: Story) -> Search:
    """For everything: secrets, what is kept of a patient, what is kept of nobody."""
    told = {"unread value": BAD_VALUE, "refused name": REFUSED, "unused fields": "CANARY-"}
    return Search(story.secrets | PATIENT | told)


def test_nothing_stands_in_the_logs(story: Story, search: Search, record: Recorded) -> None:
    files = [path for path in story.instance.rglob("*") if _is_a_log(path)]
    assert len(files) >= 5
    for path in files:
        search.look("log", path.name, path.read_bytes())
    text = (story.instance / "log" / "web.log").read_text()
    assert "database_unavailable" in text  # so the error of ours was really logged
    record(search)
    assert search.hits == []


def test_nothing_stands_in_redis(story: Story, search: Search, record: Recorded) -> None:
    redis = Redis(unix_socket_path=str(redis_socket(story.instance)))
    keys = list(redis.scan_iter(count=1000))
    assert keys
    for key in keys:
        search.look("Redis key", "", key)
        search.look("Redis value", repr(key), redis.dump(key) or b"")
        search.look("Redis value", repr(key), repr(_value(redis, key)))
    record(search)
    assert search.hits == []


def test_patients_stand_in_their_columns_alone(
    story: Story, search: Search, record: Recorded
) -> None:
    with sqlite3.connect(story.instance / "patient_sync.db") as file:
        tables = [
            row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for table in tables:
            for row in file.execute(f'SELECT * FROM "{table}"'):
                allowed = PATIENT if table in PATIENT_TABLES else ()
                search.look("table", table, repr(row), but=allowed)
    file.close()
    record(search)
    assert search.hits == []


def test_no_secret_stands_in_the_files_of_the_database(
    story: Story, search: Search, record: Recorded
) -> None:
    for path in story.instance.glob("patient_sync.db*"):
        # The trigger that refuses somebody names them.
        search.look("file", path.name, path.read_bytes(), but=[*PATIENT, "refused name"])
    record(search)
    assert search.hits == []


def test_nobody_is_told_what_is_not_theirs(story: Story, search: Search, record: Recorded) -> None:
    assert len({who for who, _, _ in story.bodies}) == 7
    for who, path, body in story.bodies:
        search.look("answer", f"to {who} at {path.partition('?')[0]}", body)
    record(search)
    assert search.hits == []


@pytest.fixture
def processes(story: Story) -> list[Seen]:
    """All of them: the server, the web server's, workers, a work-horse, and who else is there."""
    story.note_processes()
    titles = [seen.title for seen in story.processes.values()]
    assert sum("worker.py" in title for title in titles) > 3  # two, what delivers, a work-horse
    assert any("gunicorn" in title for title in titles)
    return list(story.processes.values())


def test_no_title_of_a_process_tells(
    processes: list[Seen], search: Search, record: Recorded
) -> None:
    for seen in processes:
        search.look("title", "", seen.title)
    record(search)
    assert search.hits == []


def test_the_environment_of_a_process_is_its_owners_to_read(processes: list[Seen]) -> None:
    """It holds secrets: there every program of the same user could have them anyway."""
    for seen in processes:
        assert seen.environment_mode & 0o077 == 0, seen.title
        assert seen.environment_owner == os.getuid(), seen.title


def test_no_process_can_leave_a_core_file(processes: list[Seen]) -> None:
    for seen in processes:
        assert seen.largest_core == ("0", "0"), seen.title


def test_nothing_stands_in_temporary_files(story: Story, search: Search, record: Recorded) -> None:
    assert story.written, "the processes use another folder than the one that is watched"
    for name, content in story.written.items():
        search.look("temporary file", name, content)
    record(search)
    assert search.hits == []


def test_the_search_would_find_them(story: Story, search: Search) -> None:
    """The search is searched: what must be somewhere is found there, in each of its forms."""
    with sqlite3.connect(story.instance / "patient_sync.db") as file:
        rows = repr(list(file.execute("SELECT * FROM patients")))
    file.close()
    search.look("table", "patients", rows)
    assert {hit.partition(" in ")[0] for hit in search.hits} == set(PATIENT)
    for form in forms(story.secrets["API key"]):
        one = Search({"API key": story.secrets["API key"]})
        one.look("text", "", f"xx{form}xx")
        assert one.hits, form


Recorded = Callable[[Search], None]


@pytest.fixture
def record(record_property: Callable[[str, Any], None]) -> Recorded:
    """Says how much was searched."""

    def record(search: Search) -> None:
        for kind, seen in search.seen.items():
            print(f"canaries: {seen:,} characters of {kind} searched, {len(search.hits)} hits")
            record_property(f"canaries: {kind}", f"{seen} characters, {len(search.hits)} hits")

    return record


def _is_a_log(path: Path) -> bool:
    return path.is_file() and (path.suffix == ".log" or path.name == "supervisord.conf")


def _value(redis: Redis, key: bytes) -> object:
    read: dict[object, Callable[[bytes], object]] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"list": lambda name: redis.lrange(name, 0, -1),
        b"zset": lambda name: redis.zrange(name, 0, -1, withscores=True),
        b"stream": lambda name: redis.xrange(name),
    }
    return read[redis.type(key)](key)
