"""What people and operators do while a sync runs, and clocks."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from cryptography.fernet import Fernet
from sqlalchemy import delete, update

from simulator.account import ClinikoAccount
from simulator.users import KeyState
from tests.faults.actions.cliniko import LISTS
from tests.faults.injection import Action, Injection, in_transaction
from tests.support.processes import is_alive
from webapp.extensions import db
from webapp.models import (
    Organization,
    Patient,
    PatientChange,
    SyncFailure,
    SyncLog,
    User,
)
from webapp.services import credentials, organizations


def pressed_often(it: Injection) -> None:
    """Fifty at once: the button, the API, the former address."""
    it.slow(100)
    paths = (f"/cliniko/sync-all/{it.organization_id}", f"/cliniko/sync/{it.organization_id}")
    with ThreadPoolExecutor(50) as fifty:
        answers = list(fifty.map(lambda n: it.ask("POST", paths[n % 2]), range(50)))
    it.sync_id = it._newest_id()
    it.watch()
    codes = [answer.status_code if answer is not None else 0 for answer in answers]
    bodies = [answer.json() for answer in answers if answer is not None and answer.ok]
    if codes.count(200) != 1 or codes.count(429) != 49:
        it.problems.append(f"fifty starts were answered {sorted(codes)}")
    elif bodies[0]["sync_log_id"] != it.sync_id:
        it.problems.append("the answer names another sync")


def twenty_clinics(it: Injection) -> None:
    """Twenty clinics at once, one of them at a very slow Cliniko."""
    others = [
        Injection(it.parts, it.record, with_copy=False, active=90, archived=5) for _ in range(19)
    ]
    it.slow(1500)
    it.start()
    for other in others:
        other.start()
    for other in others:
        other.ends("completed", within=90)
        other._compare(completed=True)
    it.record.seen = ""


def clocks_apart(it: Injection) -> None:
    """The workers' clocks are ten minutes off, one way or the other."""
    skew = it.random.choice(["600", "-600"])
    it.parts.stop_workers()
    it.parts.set(SKEW_SECONDS=skew)
    it.parts.start_workers(wait=False)
    it.slow(400)
    it.start()
    it.until(it.is_over, 60)
    if it.now_seen and it.now_seen.attempt != 1:
        it.problems.append("taken over though nobody was lost")
    it.parts.stop_workers()
    it.parts.set(SKEW_SECONDS="0")
    it.parts.start_workers()


def key_replaced(it: Injection) -> None:
    """Another key of the same account is entered, and the old one revoked at that moment."""
    it.slow(250)
    it.start()
    it.until_stored()
    new = it.key.replace("invented-", "replaced-")
    (user,) = it.account.users
    user.keys[new] = KeyState.OK
    with it.parts.inside():
        organization = db.session.get_one(Organization, it.organization_id)
        organizations.replace_key(organization, new)
    user.keys[it.key] = KeyState.REVOKED


def key_of_another_account(it: Injection) -> None:
    """The key of another account is put in its place; nobody of there may come here."""
    it.has_a_copy()
    it.slow(250)
    stranger = ClinikoAccount.generate(account_id=f"9{it.account.id}", seed=99, active=50)
    key = it.key.replace("invented-", "stranger-")
    stranger.add_key(key)
    it.parts.simulator.accounts = (*it.parts.simulator.accounts, stranger)

    def put(api_key: str) -> None:
        organization = db.session.get_one(Organization, it.organization_id)
        organization.encrypted_api_key = credentials.encrypt(organization.id, api_key)

    if it.record.at == "first":
        in_transaction(it, partial(put, key))
        it.start()
    else:
        it.start()
        it.until_stored()
        in_transaction(it, partial(put, key))
        next(iter(it.account.users)).keys[it.key] = KeyState.REVOKED
    it.until(it.is_over)
    next(iter(it.account.users)).keys[it.key] = KeyState.OK
    in_transaction(it, partial(put, it.key))


def keys_rotated(it: Injection) -> None:
    """The keys that protect the clinics' keys are rotated; then the old one goes too early."""
    old = ",".join(it.parts.settings.credentials_keys)
    new = Fernet.generate_key().decode()
    it.parts.stop()
    it.parts.set(CREDENTIALS_KEYS=f"{new},{old}")
    it.parts.start()
    look = it.run_sync()
    if look is None or look.outcome != "completed":
        it.problems.append(f"with both keys: {look and look.outcome}")
    it.parts.stop()
    it.parts.set(CREDENTIALS_KEYS=new)
    it.parts.start()
    it.start()
    it.until(it.is_over)
    it.parts.stop()
    it.parts.set(CREDENTIALS_KEYS=old)
    it.parts.start()


def clinic_deleted(it: Injection) -> None:
    """The clinic goes, by SQL, while its sync runs: nobody of it comes back."""
    it.slow(250)
    it.start()
    it.until_stored()
    it.may_answer |= {404}
    here = it.organization_id

    def remove() -> None:
        # First, so that no page is stored in between.
        db.session.execute(
            db.select(Organization.id).where(Organization.id == here).with_for_update()
        )
        logs = db.select(SyncLog.id).where(SyncLog.organization_id == here)
        db.session.execute(delete(SyncFailure).where(SyncFailure.sync_log_id.in_(logs)))
        db.session.execute(delete(PatientChange).where(PatientChange.organization_id == here))
        db.session.execute(delete(Patient).where(Patient.organization_id == here))
        db.session.execute(delete(SyncLog).where(SyncLog.organization_id == here))
        db.session.execute(delete(Organization).where(Organization.id == here))

    in_transaction(it, remove)
    pid = it.working()["pid"]
    begun = time.monotonic()
    it.until(lambda: not is_alive(pid), 30)
    it.record.seconds = round(time.monotonic() - begun, 2)
    with it.parts.inside():
        left = db.session.scalar(
            db.select(db.func.count()).select_from(Patient).where(Patient.organization_id == here)
        )
    if left:
        it.problems.append(f"{left} patients came back")
    it.record.seen = "gone"


def starter_disabled(it: Injection) -> None:
    """Whoever started the sync may no longer sign in; the sync goes on."""

    def let_in(active: bool) -> None:
        person = update(User).where(User.id == it.admin_id)
        in_transaction(it, lambda: db.session.execute(person.values(active=active)))

    it.slow(200)
    it.start()
    it.until_stored()
    it.may_answer |= {401}
    let_in(False)
    it.until(it.is_over)
    let_in(True)


def migrated_meanwhile(it: Injection) -> None:
    """The newest migration is taken back and applied again while a sync runs."""
    it.slow(300)
    it.start()
    it.until_stored()
    it.parts.flask("db", "downgrade", "--", "-1")
    it.parts.flask("db", "upgrade")


def cancelled(where: str) -> Action:
    """Cancelled while pages come, in a wait, or in the queue."""

    def do(it: Injection) -> None:
        if where == "waiting":
            it.trouble("rate_limited", on=LISTS, nth=4, reset_in_s=60)
        else:
            it.slow(400)
        it.start()
        if where == "waiting":
            it.until(lambda: it.now_seen is not None and it.now_seen.phase == "waiting", 30)
        else:
            it.until_stored()
        answer = it.ask("POST", f"/cliniko/cancel/{it.organization_id}")
        if answer is None or answer.status_code not in (200, 202):
            it.problems.append(f"cancelling was answered {answer and answer.status_code}")
        begun = time.monotonic()
        it.until(it.is_over, 30)
        took = time.monotonic() - begun
        if it.too_long(took, 5):
            it.problems.append(f"stopped {took:.1f} s after it was cancelled")

    return do
