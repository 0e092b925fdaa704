"""Who is let in: keys, headers and rights."""

from __future__ import annotations

import pytest
import requests

from simulator import ClinikoAccount, KeyState, Simulator
from tests.simulator.asking import HEADERS, KEY, Ask


def test_it_takes_a_key_with_or_without_its_shard(ask: Ask) -> None:
    assert ask("/user", key=KEY).status_code == 200
    assert ask("/user", key=KEY.removesuffix("-au1")).status_code == 200


def test_a_key_without_a_shard_is_from_au1(account: ClinikoAccount, ask: Ask) -> None:
    account.add_key("old")
    assert ask("/user", key="old").status_code == 200
    assert ask("/user", key="old-au1").status_code == 200
    assert ask("/user", key="old-uk1").status_code == 401


@pytest.mark.parametrize("key", ["another-au1", "", f"{KEY}x", "invented-key-uk1"])
def test_it_refuses_a_key_that_is_nobodys(ask: Ask, key: str) -> None:
    answer = ask("/patients", key=key)
    assert answer.status_code == 401
    assert "API key" in answer.json()["message"]


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer abc", "Basic", "Basic not-base64!", "Basic aW52ZW50ZWQta2V5LWF1MTpwYXNz"],
    ids=["none", "bearer", "empty", "no base64", "with a password"],
)
def test_it_refuses_any_other_authorization(cliniko: Simulator, authorization: str | None) -> None:
    headers = HEADERS | ({"Authorization": authorization} if authorization else {})
    answer = requests.get(f"{cliniko.url}/user", headers=headers, timeout=10)
    assert answer.status_code == 401


@pytest.mark.parametrize("state", [KeyState.WRONG, KeyState.REVOKED])
def test_it_refuses_a_key_that_was_revoked(
    account: ClinikoAccount, ask: Ask, state: KeyState
) -> None:
    assert ask("/patients").status_code == 200
    account.users[0].keys[KEY] = state
    assert ask("/patients").status_code == 401


def test_a_user_without_rights_sees_only_who_they_are(account: ClinikoAccount, ask: Ask) -> None:
    account.users[0].keys[KEY] = KeyState.FORBIDDEN
    forbidden = ["/patients", "/patients/archived", "/patients/deleted", "/settings", "/businesses"]
    assert {ask(path).status_code for path in forbidden} == {403}
    assert {ask(path).status_code for path in ("/user", "/settings/public")} == {200}


@pytest.mark.parametrize("agent", [None, "python-requests/2", "a@example.com", "App (nobody)"])
def test_it_wants_a_name_and_a_contact(ask: Ask, agent: str | None) -> None:
    answer = ask("/user", headers={"User-Agent": agent})
    assert answer.status_code == 403
    assert "contact" in answer.json()["message"]


def test_two_clinics_are_told_apart_by_their_keys() -> None:
    surf = ClinikoAccount.generate(active=3, archived=0, merged=0, deleted=0, seed=1)
    northside = ClinikoAccount.generate(
        active=4, archived=0, merged=0, deleted=0, seed=2, account_id="67890", name="Northside"
    )
    surf.add_key("surf-au1")
    northside.add_key("northside-uk2")
    with Simulator(surf, northside) as cliniko:
        ask = Ask(cliniko)
        theirs = ask.json("/patients", key="northside-uk2")
        assert {each["id"] for each in theirs["patients"]} == set(northside.ids())
        assert not set(northside.ids()) & set(surf.ids())
        public = ask.json("/settings/public", key="surf-au1")
        assert public["account"]["name"] == "Surf Rehab"
        ask.session.close()


def test_it_never_remembers_a_key(cliniko: Simulator, ask: Ask) -> None:
    ask("/patients", {"page": 2})
    (seen,) = cliniko.requests
    assert (seen.method, seen.path, seen.params) == ("GET", "/patients", {"page": ["2"]})
    assert (seen.user, seen.account, seen.status) == ("user1@clinic12345.example.com", "12345", 200)
    assert "invented-key" not in repr(seen)
