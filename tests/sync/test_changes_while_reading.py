"""Whatever happens to patients between any two requests of a sync, nobody is lost or made up.

Hypothesis chooses what happens and when; what it finds once it finds again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.sync.copies import Copy, copy_of, truth_of
from tests.sync.logs import certificate_of
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.services import organizations
from webapp.sync import engine
from webapp.sync.start import start_sync
from webapp.sync.upsert import Stored, store_pages

EXAMPLES = int(os.environ.get("EXAMPLES", "40"))  # as many as one likes, for a longer look
_NUMBERS = count(1)


@dataclass
class Life:
    """What happens to the patients of an account: before which request, to whom."""

    account: ClinikoAccount
    plan: dict[int, list[tuple[str, int]]]
    touched: set[str] = field(default_factory=set)
    asked: int = 0
    lock: Lock = field(default_factory=Lock)
    in_active_only: bool = False  # while the list of active patients is read, and not later
    catching_up: bool = False

    def before_request(self, path: str, params: Mapping[str, object], _number: int) -> None:
        with self.lock:
            self.catching_up = self.catching_up or "q[]" in params
            reads_active = path == "/patients" and params.get("per_page") != ["1"]
            if self.in_active_only and (self.catching_up or not reads_active):
                return
            self.asked += 1
            for verb, pick in self.plan.pop(self.asked, ()):
                self._do(verb, pick)

    def _do(self, verb: str, pick: int) -> None:
        account = self.account
        if verb == "create":
            self.touched.add(account.create())
            return
        states = {"unarchive": (State.ARCHIVED,), "delete": (State.ACTIVE, State.ARCHIVED)}
        ids = account.ids(*states.get(verb, (State.ACTIVE,)))
        if len(ids) < 2:
            return
        chosen = ids[pick % len(ids)]
        self.touched.add(chosen)
        if verb == "merge":
            account.merge(chosen, into=ids[(pick + 1) % len(ids)])
        elif verb == "edit":
            account.edit(chosen, first_name=f"Edited {pick}")
        else:
            {"archive": account.archive, "unarchive": account.unarchive, "delete": account.delete}[
                verb
            ](chosen)


VERBS = st.sampled_from(["archive", "archive", "unarchive", "merge", "delete", "create", "edit"])
# Patients at the front and at the back of a list are the ones that a shift would hit.
PICKS = st.one_of(st.integers(0, 5), st.integers(-6, -1), st.integers(0, 400))
HAPPENS = st.lists(st.tuples(VERBS, PICKS), min_size=1, max_size=6)
PLANS = st.dictionaries(st.integers(1, 24), HAPPENS, max_size=10)
LOOK = settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=["sqlite"])
def database(request: pytest.FixtureRequest) -> str:
    """One is enough: what is tried here is the order of reading."""
    name: str = request.param
    return name


def a_clinic(cliniko: Simulator, active: int, archived: int) -> tuple[ClinikoAccount, Organization]:
    """Another account with so many patients, and the clinic that has its key."""
    number = next(_NUMBERS)
    key = f"invented-key-{number}-au1"
    account = ClinikoAccount.generate(
        account_id=str(5000 + number), seed=number, active=active, archived=archived, deleted=2
    )
    account.add_key(key)
    cliniko.accounts = (account,)
    return account, organizations.add(f"Clinic {number}", key)


@given(
    plan=PLANS,
    first=PLANS,
    active=st.sampled_from([3, 99, 101, 230]),
    archived=st.sampled_from([0, 2, 120]),
)
@LOOK
def test_nobody_is_lost_or_made_up(
    app: Flask,
    cliniko: Simulator,
    sync_of: Callable[[Organization], SyncLog],
    plan: dict[int, list[tuple[str, int]]],
    first: dict[int, list[tuple[str, int]]],
    active: int,
    archived: int,
) -> None:
    account, organization = a_clinic(cliniko, active, archived)

    for happens in (first, plan):  # into an empty copy, and into one that is there
        before = truth_of(account)
        life = Life(account, dict(happens))
        cliniko.before_request = life.before_request
        log = sync_of(organization)
        cliniko.before_request = None
        assert log.status == "completed", log.error_message
        assert_kept(copy_of(organization), before, truth_of(account), life.touched)

    assert sync_of(organization).status == "completed"
    assert all_in_essence(copy_of(organization)) == all_in_essence(truth_of(account))


@given(
    plan=st.dictionaries(st.integers(1, 3), HAPPENS, min_size=1),
    active=st.sampled_from([101, 230]),
    archived=st.sampled_from([0, 2, 60, 94, 120]),
    moves=st.booleans(),
)
@LOOK
def test_what_happens_while_the_active_ones_are_read_is_in_the_same_copy(
    app: Flask,
    cliniko: Simulator,
    sync_of: Callable[[Organization], SyncLog],
    plan: dict[int, list[tuple[str, int]]],
    active: int,
    archived: int,
    moves: bool,
) -> None:
    """Also if archiving moves no `updated_at`, so that nobody who asks for changes hears of it."""
    account, organization = a_clinic(cliniko, active, archived)
    account.archiving_moves_updated_at = moves

    cliniko.before_request = Life(account, dict(plan), in_active_only=True).before_request
    log = sync_of(organization)
    cliniko.before_request = None

    assert log.status == "completed", log.error_message
    assert all_in_essence(copy_of(organization)) == all_in_essence(truth_of(account))


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("ends_at", range(6))
def test_what_happens_between_two_attempts_is_in_the_copy(
    app: Flask,
    cliniko: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    ends_at: int,
    moves: bool,
) -> None:
    """Wherever the first one ends, its last store included."""
    account, organization = a_clinic(cliniko, 101, 60)
    account.archiving_moves_updated_at = moves
    log = start_sync(
        organization, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND
    )
    with monkeypatch.context() as patch:
        stores = ends_before_store(ends_at, patch)
        engine.run(log.id, 1, worker="first")
    assert next(stores, None) is None, "the first attempt came to its end"

    account.unarchive(*account.ids(State.ARCHIVED)[:2])
    account.archive(*account.ids(State.ACTIVE)[-2:])
    engine.run(log.id, 2, worker="second")

    db.session.expire_all()
    log = db.session.get_one(SyncLog, log.id)
    assert log.status == "completed", log.error_message
    assert certificate_of(log)["in_step"]
    archived = {key for key, copy in truth_of(account).items() if copy.state == "archived"}
    ours = {key for key, copy in copy_of(organization).items() if copy.state == "archived"}
    assert ours == archived


def ends_before_store(number: int, patch: pytest.MonkeyPatch) -> Iterator[int]:
    """Lets an attempt store so often; what is left of it was not reached."""
    stores = iter(range(number))

    def end_soon(*args: Any, **options: Any) -> Stored:
        if next(stores, None) is None:
            raise engine.HandOver
        return store_pages(*args, **options)

    patch.setattr("webapp.sync.recorder.store_pages", end_soon)
    return stores


def assert_kept(
    ours: dict[str, Copy], before: dict[str, Copy], truth: dict[str, Copy], touched: set[str]
) -> None:
    """Who was left alone is here as in Cliniko; who was there at the start is here in some form,
    unless they were moved between two lists and deleted meanwhile, of whom the next sync hears;
    nobody is marked deleted who is not, and nobody is here whom Cliniko never had."""
    for key, copy in truth.items():
        if key not in touched and copy.merged_into not in touched:
            assert in_essence(ours[key]) == in_essence(copy), key
    gone = {key for key in touched if key in truth and truth[key].state == "deleted"}
    assert before.keys() - gone <= ours.keys() <= truth.keys()
    marked = {key for key, copy in ours.items() if copy.state == "deleted"}
    assert marked <= {key for key, copy in truth.items() if copy.state == "deleted"}


def all_in_essence(copies: dict[str, Copy]) -> dict[str, Copy | str]:
    return {key: in_essence(copy) for key, copy in copies.items()}


def in_essence(copy: Copy) -> Copy | str:
    """Of a deleted patient Cliniko tells nothing more, while we keep what we knew."""
    return copy.state if copy.state == "deleted" else copy
