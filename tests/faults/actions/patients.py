"""Patients that change while they are read, and records that cannot be read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from simulator.patient import State
from tests.faults.injection import Action, Injection


def malformed(content: dict[str, Any] | None, *, share: float = 0.0) -> Action:
    """One record is malformed, or a share of all active ones."""

    def do(it: Injection) -> None:
        active = it.account.ids(State.ACTIVE)
        count = max(1, round(len(active) * share))
        for key in it.random.sample(active, count):
            changes = content or {"date_of_birth": "someday"}
            whole = it.account.patient(key).record()
            it.unreadable[key] = {field: whole.get(field) for field in changes}
            it.account.edit(key, **changes)
        it.start()

    return do


def healing(do: Action) -> Action:
    """The records that were malformed are put right when the sync has ended."""

    def both(it: Injection) -> None:
        do(it)
        it.until(it.is_over)
        for key, before in it.unreadable.items():
            it.account.edit(key, **before)
            it.touched.add(key)
        it.unreadable.clear()

    return both


def life(*verbs: str, changes: int = 12) -> Action:
    """Patients change between any two requests."""

    def do(it: Injection) -> None:
        plan = [(it.random.randrange(1, 14), it.random.choice(verbs)) for _ in range(changes)]
        asked = 0
        lock = threading.Lock()

        def before_request(_path: str, _params: object, number: int) -> None:
            nonlocal asked
            seen = it.parts.simulator.requests
            account = next((r.account for r in reversed(seen) if r.number == number), None)
            if account != it.account.id:
                return
            with lock:
                asked += 1
                for _, verb in [each for each in plan if each[0] == asked]:
                    happen(it, verb)

        with _hook(it, before_request):
            it.start()
            it.until(it.is_over, 90)

    return do


def happen(it: Injection, verb: str) -> None:
    """Something happens to a patient at the front, at the back, or anywhere."""
    account = it.account
    if verb == "create":
        it.touched.add(account.create())
        return
    if verb == "create far below":
        lowest = int(account.ids()[0])
        key = str(it.random.randrange(max(2, lowest // 2), lowest))
        it.touched.add(account.create(id=key))
        return
    states = {"unarchive": (State.ARCHIVED,), "delete": (State.ACTIVE, State.ARCHIVED)}
    ids = account.ids(*states.get(verb, (State.ACTIVE,)))
    pick = it.random.choice([0, 1, -1, -2, it.random.randrange(len(ids))])
    chosen = ids[pick]
    it.touched.add(chosen)
    if verb == "merge":
        account.merge(chosen, into=ids[(pick + 1) % len(ids)])
    elif verb == "edit":
        account.edit(chosen, first_name=f"Edited {it.random.random()}")
    else:
        getattr(account, verb)(chosen)


def repeated_record(it: Injection) -> None:
    """A patient stands on two pages, and twice on one with another version."""
    somebody = it.account.ids(State.ACTIVE)[150]
    older = it.account.patient(somebody).record() | {
        "first_name": "Before",
        "updated_at": "2001-01-01T00:00:00Z",
    }
    record = it.account.patient(somebody).record()
    for nth in (1, 2, 3):
        it.trouble("replace_record", on="/patients", nth=nth, record=older, at=0, insert=True)
        it.trouble("replace_record", on="/patients", nth=nth, record=record, at=0, insert=True)
    it.start()


def plain(it: Injection) -> None:
    """Nothing at all; the fault is in the account."""
    it.start()


_hooks: dict[int, Callable[[str, object, int], None]] = {}


@contextmanager
def _hook(it: Injection, do: Callable[[str, Any, int], None]) -> Iterator[None]:
    """Called before each request; several clinics may have one at a time."""
    _hooks[it.organization_id] = do

    def all_of_them(path: str, params: object, number: int) -> None:
        for each in list(_hooks.values()):
            each(path, params, number)

    it.parts.simulator.before_request = all_of_them
    try:
        yield
    finally:
        del _hooks[it.organization_id]
