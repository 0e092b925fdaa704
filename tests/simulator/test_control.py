"""The controls: another process changes patients, orders faults and asks for the truth."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import ClinikoAccount, Simulator, State
from tests.simulator.asking import KEY, Ask


class Control:
    """Speaks to the controls of one simulator."""

    def __init__(self, cliniko: Simulator, ask: Ask) -> None:
        self.url = cliniko.control_url
        self.session = ask.session

    def __call__(self, order: str, said: Any = None, *, status: int = 200) -> Any:
        method, _, path = order.partition(" ")
        answer = self.session.request(method, f"{self.url}/{path}", json=said, timeout=10)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def control(cliniko: Simulator, ask: Ask) -> Control:
    return Control(cliniko, ask)


def test_it_tells_the_state(control: Control, ask: Ask) -> None:
    ask("/patients")
    ask("/patients", key="wrong")
    state = control("GET state")
    (clinic,) = state["accounts"]
    assert (clinic["id"], clinic["name"]) == ("12345", "Surf Rehab")
    assert clinic["patients"] == {"active": 120, "archived": 7, "merged": 2, "deleted": 3}
    assert state["answered"] == {"200": 1, "401": 1}
    assert state["settings"]["rate_limit"] == 200
    assert KEY not in str(state)


def test_it_tells_the_truth(control: Control, account: ClinikoAccount) -> None:
    told = control("GET truth")
    assert {each: (State(t["state"]), t["content"]) for each, t in told.items()} == account.truth()


def test_it_tells_what_was_asked(control: Control, ask: Ask) -> None:
    ask("/patients", {"page": 2})
    (seen,) = control("GET requests")
    assert (seen["path"], seen["params"], seen["status"]) == ("/patients", {"page": ["2"]}, 200)


@pytest.mark.parametrize(
    ("pick", "place"), [("first", slice(0, 3)), ("last", slice(117, 120)), ("random", None)]
)
def test_it_archives_some_patients(
    control: Control, account: ClinikoAccount, pick: str, place: slice | None
) -> None:
    active = account.ids(State.ACTIVE)
    ids = control("POST patients", {"action": "archive", "pick": pick, "n": 3})["ids"]
    assert len(set(ids)) == 3
    assert ids == active[place] if place else set(ids) <= set(active)
    assert {account.patient(each).state for each in ids} == {State.ARCHIVED}


def test_it_changes_patients_by_name(control: Control, account: ClinikoAccount) -> None:
    one, two, three, *_ = account.ids(State.ACTIVE)
    edit = {"action": "edit", "ids": [one], "content": {"first_name": "Zoë"}}
    assert control("POST patients", edit) == {"ids": [one]}
    control("POST patients", {"action": "delete", "ids": [two]})
    control("POST patients", {"action": "merge", "ids": [three], "into": one})
    assert account.patient(one).first_name == "Zoë"
    assert account.patient(two).state is State.DELETED
    assert account.patient(three).state is State.MERGED


def test_it_creates_patients(control: Control, account: ClinikoAccount) -> None:
    ids = control("POST patients", {"action": "create", "n": 2, "content": {"city": "Bells"}})[
        "ids"
    ]
    assert [account.patient(each).record()["city"] for each in ids] == ["Bells", "Bells"]


def test_it_brings_archived_patients_back(control: Control, account: ClinikoAccount) -> None:
    control("POST patients", {"action": "unarchive", "n": 100})
    assert account.ids(State.ARCHIVED) == []
    assert len(account.ids(State.MERGED)) == 2


def test_nobody_is_merged_into_themselves(control: Control, account: ClinikoAccount) -> None:
    survivor = account.ids(State.ACTIVE)[0]
    control("POST patients", {"action": "merge", "n": 500, "into": survivor})
    assert account.ids(State.ACTIVE) == [survivor]


def test_it_orders_faults_and_takes_them_back(control: Control, ask: Ask) -> None:
    fault = {"kind": "status", "status": 503, "on": "/patients", "times": None}
    assert control("POST faults", fault)["faults"][0]["kind"] == "status"
    assert ask("/patients").status_code == 503
    assert control("DELETE faults")["faults"] == []
    assert ask("/patients").status_code == 200
    control("POST faults", [fault, {"kind": "empty_200", "on": "/user"}])
    assert (ask("/patients").status_code, ask("/user").text) == (503, "")


def test_it_sets_what_can_be_set(control: Control, cliniko: Simulator, ask: Ask) -> None:
    control("POST settings", {"latency_ms": 1, "rate_limit": 0, "keys": {KEY: "revoked"}})
    assert (cliniko.latency_ms, cliniko.rate_limit) == (1, 0)
    assert ask("/patients").status_code == 401
    control("POST settings", {"keys": {KEY: "ok"}})
    assert ask("/patients").status_code == 200


@pytest.mark.parametrize(
    ("order", "said", "status"),
    [
        ("GET nothing", None, 404),
        ("POST state", None, 404),
        ("GET truth?account=999", None, 400),
        ("POST patients", {"action": "explode"}, 400),
        ("POST patients", {"action": "archive", "pick": "best"}, 400),
        ("POST patients", {"action": "archive", "ids": ["1"]}, 404),
        ("POST patients", {"action": "merge"}, 400),
        ("POST patients", ["archive"], 400),
        ("POST faults", {"kind": "explode"}, 400),
        ("POST faults", {"kind": "slow", "seconds": 1}, 400),
        ("POST settings", {"colour": "blue"}, 400),
        ("POST settings", {"keys": {"nobodys": "ok"}}, 400),
        ("POST settings", {"keys": {KEY: "tired"}}, 400),
    ],
)
def test_it_says_what_it_did_not_understand(
    control: Control, account: ClinikoAccount, order: str, said: Any, status: int
) -> None:
    before = account.truth()
    assert control(order, said, status=status)["message"]
    assert account.truth() == before


def test_it_wants_to_know_which_of_two_clinics() -> None:
    accounts = [
        ClinikoAccount.generate(
            active=2, archived=0, merged=0, deleted=0, seed=seed, account_id=str(seed)
        )
        for seed in (1, 2)
    ]
    with Simulator(*accounts) as cliniko:
        ask = Ask(cliniko)
        control = Control(cliniko, ask)
        assert "which account" in control("GET truth", status=400)["message"]
        control("POST patients", {"action": "create", "account": "2"})
        assert len(control("GET truth?account=2")) == 3
        ask.session.close()
    assert len(accounts[0].ids()) == 2


def test_the_controls_neither_count_nor_wait(cliniko: Simulator, control: Control) -> None:
    cliniko.rate_limit = 1
    cliniko.latency_ms = 60_000
    control("GET state")
    control("GET state")
    assert cliniko.requests == []
