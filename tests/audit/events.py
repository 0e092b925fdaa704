"""How each event comes about: what somebody does, and what then stands in the trail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import Flask
from rq import Queue
from rq.serializers import JSONSerializer

from simulator.server import Simulator
from simulator.users import KeyState
from tests.api.rows import hold, make_log, record, store
from tests.cast import NORTHSIDE_KEY, PASSWORD, SURF_KEY, Cast
from tests.codes import set_up
from tests.conftest import as_user
from tests.pages.visitor import Visitor
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.limits import sign_in as attempts
from webapp.models import OperationType, SyncOrigin, SyncStatus
from webapp.queue import SYNC_QUEUE, redis_connection, web_connection
from webapp.services import invitations, notices, passwords, people, tokens
from webapp.services.audit_events import Event
from webapp.sync import recovery
from webapp.sync.start import start_sync
from webapp.worker import SyncWorker

SEARCH = "olivia nguyen"


@dataclass(frozen=True)
class Stage:
    """What an event may need."""

    app: Flask
    cast: Cast
    cliniko: Simulator
    work: Callable[[], None]

    @property
    def surf(self) -> str:
        """The address of Surf Rehab's pages."""
        return f"/clinics/{self.cast.surf.id}"

    def at(self, name: str) -> Visitor:
        """Somebody of the cast at the dashboard; a stranger if nobody is named."""
        visitor = Visitor(self.app)
        return visitor.signed_in(getattr(self.cast, name)) if name else visitor

    def command(self, *words: object, typed: str = "") -> None:
        result = self.app.test_cli_runner().invoke(args=list(map(str, words)), input=typed)
        assert result.exit_code == 0, result.output

    def sync(self, **values: Any) -> int:
        """A sync that runs."""
        started = {"started_at": now(), **values}
        return make_log(self.cast.surf, SyncStatus.RUNNING, **started).id

    def start(self) -> int:
        """A sync that waits for a worker."""
        return start_sync(
            self.cast.surf,
            OperationType.FULL_PATIENTS,
            actor=self.cast.bob,
            origin=SyncOrigin.COMMAND,
        ).id

    def in_step(self) -> None:
        self.start()
        self.work()


@dataclass(frozen=True)
class Case:
    """What somebody does, and the one event that it leaves; `prepare` is done before."""

    event: Event
    do: Callable[[Stage], object]
    actor: str | None = None
    clinic: str | None = "surf"
    via: str = "page"
    result: str = "ok"
    subject: str | None = None  # its first word
    details: dict[str, object] = field(default_factory=dict)
    prepare: Callable[[Stage], object] = lambda stage: None
    beside: tuple[Event, ...] = ()  # what else has to come of it

    def __str__(self) -> str:
        return f"{self.event} by {self.via}"


API = "/api/v1/cliniko"
BOB = "bob@example.com"
VERA = "vera@example.com"
SHORT = "harbour fig 9"


def _wrong(stage: Stage, email: str) -> object:
    return stage.at("").post("/sign-in", email=email, password="not the password at all")


def _too_many(stage: Stage) -> object:
    for _ in range(attempts.PER_ACCOUNT.amount):
        _wrong(stage, BOB)
    return None


def _start(stage: Stage) -> object:
    return stage.at("bob").post(f"{stage.surf}/syncs")


def _patients(stage: Stage) -> object:
    return store(stage.cast.surf, record(1, "Olivia", "Nguyen"), record(2, "Noah", "Smith"))


def _removals(stage: Stage, what: str) -> object:
    log = hold(stage.cast.surf, 3)
    return stage.at("alice").post(f"{stage.surf}/syncs/{log.id}/removals/{what}")


def _foreign_job(stage: Stage) -> None:
    queue = Queue(SYNC_QUEUE, connection=redis_connection(), serializer=JSONSerializer)
    job = queue.enqueue("os.system", "true")
    db.session.rollback()  # a worker closes its connections, and ours is not to be lost among them
    SyncWorker(stage.app).execute_job(job, queue)


def _link(stage: Stage) -> object:
    secret = invitations.renew(stage.cast.vera)
    fields = {"secret": secret, "password": "four words that only Vera has"}
    return stage.at("").post("/invitation", **fields)


def _broken_connection(stage: Stage) -> object:
    stage.cliniko.accounts[0].users[0].keys[SURF_KEY] = KeyState.REVOKED
    return stage.at("bob").post(f"{stage.surf}/connection")


def _refused_key(stage: Stage) -> object:
    stage.cliniko.accounts[0].users[0].keys[SURF_KEY] = KeyState.REVOKED
    return stage.start()


def _abandoned(stage: Stage) -> object:
    return stage.sync(worker="w", lease_expires_at=now() - timedelta(hours=1))


def _without_redis(stage: Stage) -> None:
    stage.app.extensions["redis"] = web_connection("unix:///nowhere/redis.sock")


def _forged(stage: Stage) -> object:
    return stage.at("bob").client.post(f"{stage.surf}/syncs", data={"csrf_token": "forged"})


def _unreadable_referrer(stage: Stage) -> object:
    bob = stage.at("bob")
    form = {"csrf_token": bob.csrf_token()}
    headers = {"Referer": "https://["}
    return bob.client.post(
        f"{stage.surf}/syncs", data=form, headers=headers, base_url="https://localhost"
    )


def _token(stage: Stage) -> object:
    fields = {"email": BOB, "password": PASSWORD}
    return stage.app.test_client().post("/api/v1/auth/token", json=fields)


def _short(stage: Stage) -> None:
    """A password that was chosen beside a second factor, which was reset since."""
    with transaction():
        stage.cast.bob.password_hash = passwords.hashed_anew(SHORT)


def _closed(stage: Stage) -> None:
    with transaction():
        stage.cast.bob.failures_in_a_row = 100


def _revoke(stage: Stage) -> object:
    tokens.issue(stage.cast.vera, name="Report")
    (row,) = tokens.of(stage.cast.vera)
    return stage.at("alice").post(f"/api-access/{row.id}/revoke")


def _api(name: str, path: str) -> Callable[[Stage], object]:
    def ask(stage: Stage) -> object:
        client = as_user(stage.app, getattr(stage.cast, name))
        return client.get(f"{API}/{path}".format(surf=stage.cast.surf.id))

    return ask


def _probes(method: str, page: str, of: str) -> Callable[[Stage], object]:
    """A manager of another clinic asks for somebody of Surf Rehab, or for nobody at all."""

    def ask(stage: Stage) -> object:
        person = getattr(stage.cast, of, None)
        path = f"/people/{person.id if person else 999}/{page}"
        charlie = stage.at("charlie")
        answer = charlie.get(path) if method == "GET" else charlie.post(path)
        assert answer.status_code == 404
        return answer

    return ask


def _disabled(stage: Stage) -> None:
    with transaction():
        stage.cast.surf.disabled_at = now()


def _of(name: str, action: str, /, **fields: str) -> Callable[[Stage], object]:
    """What Alice does with somebody on the page People."""

    def do(stage: Stage) -> object:
        return stage.at("alice").post(f"/people/{getattr(stage.cast, name).id}/{action}", **fields)

    return do


def _page(name: str, path: str = "", /, **fields: str) -> Callable[[Stage], object]:
    """What somebody sends from a page of Surf Rehab."""
    return lambda stage: stage.at(name).post(f"{stage.surf}{path}", **fields)


CASES = [
    Case(
        Event.SIGNED_IN,
        lambda stage: stage.at("").post("/sign-in", email=BOB, password=PASSWORD),
        actor="bob",
        subject="session",
    ),
    Case(
        Event.SIGN_IN_FAILED,
        lambda stage: _wrong(stage, BOB),
        result="refused",
        subject="person",
        details={"person": BOB},
    ),
    Case(
        Event.SIGN_IN_FAILED,
        lambda stage: _wrong(stage, "my secret password"),
        clinic=None,
        result="refused",
        details={},
    ),
    Case(
        Event.CODE_AWAITED,
        lambda stage: stage.at("").post("/sign-in", email=BOB, password=PASSWORD),
        subject="person",
        prepare=lambda stage: set_up(stage.cast.bob),
        details={"person": BOB},
    ),
    Case(
        Event.CODE_AWAITED,
        _token,
        via="api",
        result="refused",
        subject="person",
        prepare=lambda stage: set_up(stage.cast.bob),
        details={"person": BOB},
    ),
    Case(
        Event.CODE_AWAITED,
        _token,
        via="api",
        result="refused",
        subject="person",
        prepare=lambda stage: stage.app.config.update(SECOND_FACTOR="required"),
        details={"person": BOB},
    ),
    Case(
        Event.CODE_AWAITED,
        lambda stage: stage.at("").post("/sign-in", email=BOB, password=SHORT),
        result="refused",
        subject="person",
        prepare=_short,
        details={"person": BOB},
    ),
    Case(
        Event.SIGN_IN_LIMITED,
        lambda stage: _wrong(stage, BOB),
        clinic=None,
        result="refused",
        prepare=_too_many,
    ),
    Case(
        Event.CLOSED_REFUSED,
        lambda stage: stage.at("").post("/sign-in", email=BOB, password=PASSWORD),
        result="refused",
        subject="person",
        prepare=_closed,
        details={"person": BOB},
    ),
    Case(
        Event.CLOSED_REFUSED,
        _token,
        via="api",
        result="refused",
        subject="person",
        prepare=_closed,
        details={"person": BOB},
    ),
    Case(
        Event.CLOSED_REFUSED,
        lambda stage: stage.at("bob").post("/confirm", current=PASSWORD),
        actor="bob",
        result="refused",
        subject="person",
        prepare=_closed,
        details={"person": BOB},
    ),
    Case(
        Event.SIGNED_OUT,
        lambda stage: stage.at("bob").post("/sign-out"),
        actor="bob",
        subject="session",
    ),
    Case(
        Event.PROOF_FAILED,
        lambda stage: stage.at("bob").post("/confirm", current="not the password at all"),
        actor="bob",
        result="refused",
        subject="person",
    ),
    Case(
        Event.SIGNED_OUT_EVERYWHERE,
        lambda stage: stage.at("bob").post("/account/sign-out-everywhere"),
        actor="bob",
        subject="person",
        details={"person": BOB},
    ),
    Case(
        Event.ACCESS_DENIED,
        lambda stage: stage.at("vera").get(f"{stage.surf}/patients"),
        actor="vera",
        result="refused",
        subject="clinic",
        details={"asked": "VIEW_PATIENTS"},
    ),
    Case(
        Event.ACCESS_DENIED,
        _api("charlie", "status/{surf}"),
        actor="charlie",
        clinic="northside",
        via="api",
        result="refused",
        subject="clinic",
        details={"asked": "VIEW_SYNCS"},
        beside=(Event.TOKEN_ISSUED,),
    ),
    *(
        Case(
            Event.ACCESS_DENIED,
            _probes(method, page, of),
            actor="charlie",
            clinic="northside",
            result="refused",
            subject="person",
            details={"asked": "MANAGE_PEOPLE"},
        )
        for method, page in (("GET", "role"), ("POST", "link"), ("POST", "deactivate"))
        for of in ("bob", "nobody")
    ),
    Case(
        Event.ACCESS_DENIED,
        lambda stage: stage.at("vera").get("/clinics"),
        actor="vera",
        result="refused",
        prepare=_disabled,
        details={"asked": "pages.clinics"},
    ),
    Case(
        Event.ACCESS_DENIED,
        _api("vera", "status/{surf}"),
        actor="vera",
        via="api",
        result="refused",
        subject="clinic",
        prepare=_disabled,
        details={"asked": "api.status"},
        beside=(Event.TOKEN_ISSUED,),
    ),
    Case(
        Event.FORGERY_REFUSED,
        _forged,
        actor="bob",
        result="refused",
        subject="clinic",
        details={"asked": "pages.start"},
    ),
    Case(
        Event.FORGERY_REFUSED,
        _unreadable_referrer,
        actor="bob",
        result="refused",
        subject="clinic",
        details={"asked": "pages.start"},
    ),
    Case(
        Event.FORGERY_REFUSED,
        lambda stage: stage.at("bob").client.post(
            f"{stage.surf}/syncs", headers={"Sec-Fetch-Site": "cross-site"}
        ),
        actor="bob",
        result="refused",
        subject="clinic",
        details={"asked": "pages.start"},
    ),
    Case(
        Event.RATE_LIMITED,
        _start,
        actor="bob",
        result="refused",
        subject="clinic",
        prepare=lambda stage: make_log(stage.cast.surf, origin=SyncOrigin.API, started_at=now()),
        details={"asked": "pages.start"},
    ),
    Case(
        Event.PERSON_ADDED,
        lambda stage: stage.command(
            *("create-user", "mia@example.com", "--role", "viewer"),
            *("--organization", stage.cast.surf.id),
            typed=f"{PASSWORD}\n",
        ),
        via="command",
        subject="person",
        details={"person": "mia@example.com", "role": "viewer"},
    ),
    Case(
        Event.PERSON_INVITED,
        lambda stage: stage.at("bob").post("/people", email="mia@example.com", role="viewer"),
        actor="bob",
        subject="person",
        details={"person": "mia@example.com", "role": "viewer"},
        beside=(Event.LINK_MADE,),
    ),
    Case(
        Event.INVITATION_REFUSED,
        lambda stage: stage.at("bob").post("/people", email="charlie@example.com", role="viewer"),
        actor="bob",
        result="refused",
        details={"person": "charlie@example.com"},
    ),
    Case(
        Event.LINK_MADE,
        _of("vera", "link"),
        actor="alice",
        subject="person",
        details={"person": VERA},
    ),
    Case(
        Event.LINK_USED,
        _link,
        actor="vera",
        subject="person",
        details={"person": VERA},
        beside=(Event.LINK_MADE, Event.PASSWORD_CHANGED, Event.SIGNED_IN),
    ),
    Case(
        Event.PASSWORD_CHANGED,
        lambda stage: stage.at("bob").post(
            "/account/password", current=PASSWORD, password="another battery staple"
        ),
        actor="bob",
        subject="person",
        details={"person": BOB},
        beside=(Event.SIGNED_IN, Event.SIGNED_OUT),
    ),
    Case(
        Event.PASSWORD_CHANGED,
        lambda stage: stage.command("set-password", BOB, typed=f"{PASSWORD}\n"),
        via="command",
        subject="person",
        details={"person": BOB},
    ),
    Case(
        Event.ROLE_CHANGED,
        lambda stage: stage.at("bob").post(f"/people/{stage.cast.vera.id}/role", role="manager"),
        actor="bob",
        subject="person",
        details={"person": VERA, "role": "manager"},
    ),
    Case(
        Event.PERSON_DEACTIVATED,
        _of("vera", "deactivate"),
        actor="alice",
        subject="person",
        details={"person": VERA},
    ),
    Case(
        Event.PERSON_ACTIVATED,
        _of("vera", "activate"),
        actor="alice",
        subject="person",
        details={"person": VERA},
        prepare=lambda stage: people.deactivate(stage.cast.vera),
    ),
    Case(
        Event.MAILS_CHOSEN,
        lambda stage: stage.at("bob").post("/account/notices"),
        actor="bob",
        subject="person",
        details={"person": BOB, "wanted": False},
    ),
    Case(
        Event.MAILS_CHOSEN,
        lambda stage: stage.at("alice").post("/account/notices", notices="1"),
        actor="alice",
        clinic=None,
        subject="person",
        details={"person": "alice@example.com", "wanted": True},
        prepare=lambda stage: notices.want(stage.cast.alice, False),
    ),
    Case(
        Event.TOKEN_ISSUED,
        lambda stage: stage.at("bob").post("/api-access", name="Report", days="30"),
        actor="bob",
        subject="token",
        details={"person": BOB},
    ),
    Case(
        Event.TOKEN_ISSUED,
        _token,
        actor="bob",
        via="api",
        subject="token",
        details={"person": BOB},
    ),
    Case(
        Event.TOKEN_ISSUED,
        lambda stage: stage.command("issue-token", BOB),
        via="command",
        subject="token",
        details={"person": BOB},
    ),
    Case(
        Event.TOKEN_REVOKED,
        _revoke,
        actor="alice",
        subject="token",
        details={"person": VERA},
        beside=(Event.TOKEN_ISSUED,),
    ),
    Case(
        Event.CLINIC_ADDED,
        lambda stage: stage.at("alice").post("/clinics/new", name="New", api_key=SURF_KEY),
        actor="alice",
        clinic="new",
        subject="clinic",
        details={"with_key": True},
    ),
    Case(
        Event.CLINIC_RENAMED,
        _page("bob", "/settings/name", name="Surf and Turf"),
        actor="bob",
        subject="clinic",
        details={},
    ),
    Case(
        Event.KEY_SET,
        _page("bob", "/settings/api-key", api_key=SURF_KEY),
        actor="bob",
        subject="clinic",
        details={},
    ),
    Case(
        Event.KEY_REFUSED,
        _page("bob", "/settings/api-key", api_key="nobody-knows-this-au1"),
        actor="bob",
        result="refused",
        subject="clinic",
        details={"error_code": "CLINIKO_AUTH_FAILED"},
    ),
    Case(
        Event.KEY_REFUSED,
        _page("bob", "/settings/api-key", api_key=NORTHSIDE_KEY),
        actor="bob",
        result="refused",
        subject="clinic",
        prepare=_page("bob", "/connection"),
        details={"error_code": "CLINIKO_ACCOUNT_MISMATCH"},
    ),
    Case(
        Event.CONNECTION_TESTED,
        _page("bob", "/connection"),
        actor="bob",
        subject="clinic",
        details={},
    ),
    Case(
        Event.CONNECTION_TESTED,
        _broken_connection,
        actor="bob",
        result="failed",
        subject="clinic",
        details={"error_code": "CLINIKO_AUTH_FAILED"},
    ),
    Case(
        Event.CONNECTION_TESTED,
        _api("bob", "test-connection/{surf}"),
        actor="bob",
        via="api",
        subject="clinic",
        beside=(Event.TOKEN_ISSUED,),
    ),
    Case(
        Event.SYNC_STARTED,
        _start,
        actor="bob",
        subject="sync",
        details={"operation_type": "full_patients"},
    ),
    Case(
        Event.SYNC_STARTED,
        lambda stage: stage.command("sync", stage.cast.surf.id),
        via="command",
        subject="sync",
    ),
    Case(
        Event.SYNC_CANCEL_ASKED,
        lambda stage: stage.at("bob").post(f"{stage.surf}/syncs/{stage.sync(worker='w')}/cancel"),
        actor="bob",
        subject="sync",
    ),
    Case(
        Event.SYNC_CANCELLED,
        lambda stage: stage.at("bob").post(f"{stage.surf}/syncs/{stage.sync()}/cancel"),
        actor="bob",
        subject="sync",
    ),
    Case(
        Event.SYNC_CANCELLED,
        _page("alice", "/settings/disable"),
        actor="alice",
        subject="sync",
        prepare=lambda stage: stage.sync(worker="w"),
        beside=(Event.CLINIC_DISABLED,),
    ),
    Case(
        Event.SYNC_COMPLETED,
        lambda stage: stage.work(),
        via="worker",
        subject="sync",
        details={"stored": 648, "failed": 0},
        prepare=lambda stage: stage.start(),
    ),
    Case(
        Event.SYNC_FAILED,
        lambda stage: stage.work(),
        via="worker",
        result="failed",
        subject="sync",
        details={"error_code": "CLINIKO_AUTH_FAILED"},
        prepare=_refused_key,
    ),
    Case(
        Event.SYNC_FAILED,
        _page("alice", "/settings/delete", confirmation="Surf Rehab"),
        actor="alice",
        result="failed",
        subject="sync",
        details={"error_code": "ORGANIZATION_NOT_FOUND"},
        prepare=lambda stage: stage.sync(worker="w"),
        beside=(Event.CLINIC_DELETED, *(Event.PERSON_DEACTIVATED,) * 2),
    ),
    Case(
        Event.SYNC_FAILED,
        lambda stage: stage.at("vera").get(stage.surf),
        via="worker",  # whoever looks at what is abandoned has not ended it
        result="failed",
        subject="sync",
        details={"error_code": "SYNC_INTERRUPTED"},
        prepare=_abandoned,
    ),
    Case(
        Event.SYNC_FAILED,
        _api("vera", "sync-logs/{surf}"),
        via="worker",
        result="failed",
        subject="sync",
        prepare=_abandoned,
        beside=(Event.TOKEN_ISSUED,),
    ),
    Case(
        Event.SYNC_FAILED,
        _start,
        via="worker",
        result="failed",
        subject="sync",
        prepare=_abandoned,
        beside=(Event.SYNC_STARTED,),
    ),
    Case(
        Event.SYNC_STARTED,
        _start,
        actor="bob",
        subject="sync",
        prepare=_abandoned,
        beside=(Event.SYNC_FAILED,),
    ),
    Case(
        Event.SYNC_FAILED,
        _start,
        actor="bob",
        result="failed",
        subject="sync",
        details={"error_code": "QUEUE_UNAVAILABLE"},
        prepare=_without_redis,
        beside=(Event.SYNC_STARTED,),
    ),
    Case(
        Event.SYNC_HANDED_OVER,
        lambda stage: recovery.recover_stale_syncs(),
        via="worker",
        subject="sync",
        details={"attempt": 2, "interrupted": True},
        prepare=lambda stage: stage.sync(worker="w", lease_expires_at=now()),
    ),
    Case(
        Event.REMOVALS_CONFIRMED,
        lambda stage: _removals(stage, "confirm"),
        actor="alice",
        subject="sync",
        details={"count": 3},
    ),
    Case(
        Event.REMOVALS_DISMISSED,
        lambda stage: _removals(stage, "dismiss"),
        actor="alice",
        subject="sync",
        details={"count": 3},
    ),
    Case(
        Event.REMOVALS_LISTED,
        lambda stage: stage.at("bob").get(
            f"{stage.surf}/syncs/{hold(stage.cast.surf, 3).id}/removals"
        ),
        actor="bob",
        subject="sync",
        details={"count": 3, "shown": 3},
    ),
    Case(
        Event.PATIENTS_LISTED,
        lambda stage: stage.at("bob").get(f"{stage.surf}/patients"),
        actor="bob",
        prepare=_patients,
        details={"count": 2, "shown": 2},
    ),
    Case(
        Event.PATIENTS_LISTED,
        _api("bob", "active-patients/{surf}"),
        actor="bob",
        via="api",
        prepare=_patients,
        details={"count": 2, "shown": 2},
        beside=(Event.TOKEN_ISSUED,),
    ),
    Case(
        Event.PATIENTS_SEARCHED,
        lambda stage: stage.at("bob").search(f"{stage.surf}/patients", search=SEARCH),
        actor="bob",
        prepare=_patients,
        details={"count": 1, "shown": 1},
    ),
    Case(
        Event.PATIENTS_SEARCHED,
        _api("bob", f"active-patients/{{surf}}?search={SEARCH}"),
        actor="bob",
        via="api",
        prepare=_patients,
        details={"count": 1, "shown": 1},
        beside=(Event.TOKEN_ISSUED,),
    ),
    Case(
        Event.PATIENT_VIEWED,
        lambda stage: stage.at("bob").get(f"{stage.surf}/patients/1"),
        actor="bob",
        subject="patient",
        prepare=_patients,
        details={},
    ),
    Case(
        Event.PATIENTS_EXPORTED,
        _page("bob", "/patient-export", search=SEARCH),
        actor="bob",
        prepare=_patients,
        details={"count": 1},
    ),
    Case(
        Event.PATIENTS_COMPARED,
        lambda stage: stage.command("sync", stage.cast.surf.id, "--verify"),
        via="command",
        prepare=lambda stage: stage.in_step(),
    ),
    Case(
        Event.CHANGES_LISTED,
        lambda stage: stage.at("bob").get(f"{stage.surf}/syncs/1/changes"),
        actor="bob",
        subject="sync",
        prepare=_patients,
    ),
    Case(
        Event.CHANGES_LISTED,
        _api("bob", "changes/{surf}"),
        actor="bob",
        via="api",
        prepare=_patients,
        beside=(Event.TOKEN_ISSUED,),
    ),
    Case(
        Event.PATIENT_FORGOTTEN,
        _page("bob", "/patients/1/forget"),
        actor="bob",
        subject="patient",
        prepare=_patients,
    ),
    Case(
        Event.CLINIC_DISABLED,
        _page("alice", "/settings/disable"),
        actor="alice",
        subject="clinic",
    ),
    Case(
        Event.CLINIC_ENABLED,
        _page("alice", "/settings/enable"),
        actor="alice",
        subject="clinic",
        prepare=_page("alice", "/settings/disable"),
    ),
    Case(
        Event.CLINIC_DELETED,
        _page("alice", "/settings/delete", confirmation="Surf Rehab"),
        actor="alice",
        subject="clinic",
        beside=(Event.PERSON_DEACTIVATED,) * 2,  # Bob and Vera
    ),
    Case(
        Event.KEYS_ROTATED,
        lambda stage: stage.command("rotate-keys"),
        clinic=None,
        via="command",
    ),
    Case(
        Event.AUDIT_EXPORTED,
        _page("bob", "/audit/export", who=BOB),
        actor="bob",
        details={"filters": ["who"]},
    ),
    Case(
        Event.FOREIGN_JOB_REFUSED,
        _foreign_job,
        clinic=None,
        via="worker",
        result="refused",
        details={"function": "os.system"},
    ),
]

# What the tests of these show beside what they are about.
SHOWN_ELSEWHERE: dict[str, set[Event]] = {
    "tests/test_cli.py": {Event.ADMIN_GRANTED},
    "tests/services/test_second_factor.py": {
        Event.ACCOUNT_LOCKED,
        Event.CODE_REFUSED,
        Event.RECOVERY_CODES_MADE,
        Event.RECOVERY_CODE_USED,
        Event.SECOND_FACTOR_REMOVED,
        Event.SECOND_FACTOR_RESET,
        Event.SECOND_FACTOR_SET,
    },
    "tests/services/test_schedules.py": {Event.SCHEDULE_CHANGED},
    "tests/services/test_retention.py": {Event.CLEANED_UP},
    "tests/sync/test_backup.py": {Event.BACKED_UP},
    "tests/pages/test_webhooks.py": {
        event for event in Event if event.startswith("webhook:") and event != Event.WEBHOOK_STOPPED
    },
    "tests/services/webhooks/test_sending.py": {Event.WEBHOOK_STOPPED},
}
