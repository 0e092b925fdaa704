"""A month in a clinic: patients change between syncs of what changed, and a full sync each week.

After each sync of changes the copy equals what a cursor can see; after each full sync, Cliniko.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.sync.copies import Copy, copy_of, truth_of
from tests.sync.logs import certificate_of
from webapp.extensions import db
from webapp.models import OperationType, Organization, PatientChange, SyncLog, SyncOrigin
from webapp.services import organizations
from webapp.sync import engine, watermark
from webapp.sync.start import start_sync

SEEDS = range(1, 1 + int(os.environ.get("MONTHS", "1")))  # as many as one likes
DAYS, SYNCS_A_DAY = 30, 2
BEGIN = datetime.fromisoformat("2026-03-02T08:00:00Z")
CHANGED = OperationType.CHANGED_PATIENTS


@pytest.fixture(params=["sqlite"])
def database(request: pytest.FixtureRequest) -> str:
    """One is enough: what is tried here is what is read, and when."""
    name: str = request.param
    return name


@dataclass
class Life:
    """What happens to the patients of an account; `unseen` are those to whom something happened
    that no question about changes can find."""

    account: ClinikoAccount
    chance: Random
    unseen: set[str] = field(default_factory=set)

    def go_on(self, *, hidden: bool) -> None:
        """A few things that happen, and sometimes one that Cliniko puts no time to."""
        for _ in range(self.chance.randint(0, 6)):
            verbs = ["edit", "edit", "create", "archive", "unarchive", "merge", "delete", "restore"]
            self._do(self.chance.choice(verbs))
        if hidden and self.chance.random() < 0.3:
            self.account.archiving_moves_updated_at = False
            self.unseen |= self._do(self.chance.choice(["archive", "unarchive", "vanish"]))
            self.account.archiving_moves_updated_at = True

    def _do(self, verb: str) -> set[str]:
        account, chance = self.account, self.chance
        if verb == "create":
            return {account.create()}
        states = {
            "unarchive": (State.ARCHIVED,),
            "restore": (State.DELETED,),
            "delete": (State.ACTIVE, State.ARCHIVED),
        }
        ids = account.ids(*states.get(verb, (State.ACTIVE,)))
        if len(ids) < 2:
            return set()
        key, other = chance.sample(ids, 2)
        if verb == "edit":
            what = chance.choice(["first_name", "last_name", "email"])
            account.edit(key, **{what: f"{what}-{chance.randint(1, 9)}@example.com"})
        elif verb == "merge":
            account.merge(key, into=other)
        elif verb == "vanish":
            account.forget(key)
        else:
            getattr(account, verb)(key)
        return {key}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("hidden", [False, True], ids=["told of all", "some hidden"])
def test_the_copy_follows_for_a_month(
    app: Flask, cliniko: Simulator, seed: int, hidden: bool, record_property: Callable[..., None]
) -> None:
    app.config["CLINIKO_RATE_LIMIT"] = 100_000  # a month passes in seconds
    cliniko.rate_limit = 0
    life = Life(_account(cliniko, seed), Random(seed))
    organization = organizations.add("Clinic", f"invented-key-{seed}-au1")
    kinds, requests = Counter[str](), Counter[str]()
    moment = BEGIN
    for number in range(DAYS * SYNCS_A_DAY):
        with time_machine.travel(moment):
            life.go_on(hidden=hidden)
        moment += timedelta(minutes=life.chance.randint(1, 24 * 60 * 2 // SYNCS_A_DAY))
        with time_machine.travel(moment):
            due = watermark.needs_full_sync(organization)
            log = _synced(organization)
        assert log.status == "completed", log.error_message
        assert (log.operation_type == "full_patients") is due
        kinds[log.operation_type] += 1
        requests[log.operation_type] += log.progress["requests_made"]
        if due:
            assert certificate_of(log)["in_step"], number
            life.unseen.clear()
        assert _seen(copy_of(organization), life) == _seen(truth_of(life.account), life), number
    assert _told_by_the_feed(organization) == _living(copy_of(organization))
    assert kinds["full_patients"] >= DAYS // 7
    each = {kind: requests[kind] / kinds[kind] for kind in kinds}
    record_property("requests", each)
    assert each["changed_patients"] <= 8 < each["full_patients"]


def _account(cliniko: Simulator, seed: int) -> ClinikoAccount:
    with time_machine.travel(BEGIN - timedelta(days=1)):
        account = ClinikoAccount.generate(
            account_id=str(7000 + seed), seed=seed, active=230, archived=25, merged=3, deleted=4
        )
    account.add_key(f"invented-key-{seed}-au1")
    cliniko.accounts = (account,)
    return account


def _synced(organization: Organization) -> SyncLog:
    log = start_sync(organization, CHANGED, actor=None, origin=SyncOrigin.COMMAND)
    engine.run(log.id, log.attempt, worker="test")
    db.session.expire_all()
    return db.session.get_one(SyncLog, log.id)


def _seen(copies: dict[str, Copy], life: Life) -> dict[str, Copy]:
    """The living patients, without those whom only a full sync can bring in step."""
    return {
        key: copy
        for key, copy in copies.items()
        if copy.state != "deleted" and key not in life.unseen
    }


def _living(copies: dict[str, Copy]) -> set[str]:
    return {key for key, copy in copies.items() if copy.state != "deleted"}


def _told_by_the_feed(organization: Organization) -> set[str]:
    """Who is there for somebody who has only followed the changes."""
    there: set[str] = set()
    rows = select(PatientChange).where(PatientChange.organization_id == organization.id)
    for change in db.session.scalars(rows.order_by(PatientChange.position)):
        if change.kind == "deleted":
            there.discard(change.cliniko_patient_id)
        else:
            there.add(change.cliniko_patient_id)
    return there
