"""Clinics and their keys."""

from __future__ import annotations

import pytest

from simulator.server import Simulator
from simulator.users import KeyState
from tests.cast import NORTHSIDE_KEY, SURF_KEY, Cast
from webapp.cliniko.errors import AuthFailed, Forbidden, RateLimited, Unavailable
from webapp.errors import AccountMismatch, ClinikoNotConfigured, ValidationError
from webapp.extensions import db
from webapp.services import connection, credentials, names, organizations


def test_a_key_is_stored_encrypted_with_what_may_be_shown_of_it(cast: Cast) -> None:
    encrypted = cast.surf.encrypted_api_key
    assert encrypted is not None
    assert SURF_KEY not in encrypted
    assert credentials.decrypt(cast.surf.id, encrypted) == SURF_KEY
    assert (cast.surf.shard, cast.surf.api_key_hint) == ("au1", SURF_KEY[-8:-4])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["Surf", "Bay"], ["Surf", "Bay"]),
        (["Surf", "Bay", "Surf"], ["Surf #1", "Bay", "Surf #3"]),
        (["Surf", "Surf", "Surf #2"], ["Surf #1", "Surf #2", "Surf #2 #3"]),
        (["Surf", "Surf #1"], ["Surf", "Surf #1 #2"]),
    ],
)
def test_no_clinic_of_a_list_is_called_as_another(given: list[str], told: list[str]) -> None:
    numbered = dict(enumerate(given, start=1))

    assert names.told_apart(numbered) == dict(enumerate(told, start=1))


@pytest.mark.parametrize("name", ["می\u200cرود", "ක්\u200dර", "Family \U0001f469\u200d\U0001f466"])
def test_a_name_may_be_spelled_with_what_joins_letters(name: str, cast: Cast) -> None:
    assert organizations.add(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("physio.com.au", "Physio.com.au - Massage/Physio", "Dr. Smith/Jones", "Awww. Pets"),
        *("Suite 1.55/7", "Physio 24/7", "A.B./C.D. Physio", "St. Kilda / physio.com.au"),
    ],
)
def test_a_name_may_hold_dots_and_slashes(name: str, cast: Cast) -> None:
    assert organizations.add(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "See https://evil.example",
        *("www.evil.example", "Your account: WWW.evil.example", "(www.evil.example)", "_www.evil"),
        *("evil.example/login", "See Evil.Example/", "evil.example:8080/x", "evil.example./x"),
        *("203.0.113.9/x", "a-b.evil-example.com/x", "مثال.إختبار/x", "evil.example\u200d/x"),
    ],
)
def test_a_name_leads_nowhere_from_a_mail(name: str, cast: Cast) -> None:
    for give in (organizations.add, lambda name: organizations.rename(cast.surf, name)):
        with pytest.raises(ValidationError, match="must not lead elsewhere") as refusal:
            give(name)
        assert refusal.value.parameter == "name"


@pytest.mark.parametrize(
    "name",
    [
        *("", "   ", "x" * 201, "bell\x07"),
        *("\u200cx", "x\u200d", "x\u200d y", "x\u200c\u200dy"),
    ],
)
def test_a_name_must_be_readable(name: str, cast: Cast) -> None:
    with pytest.raises(ValidationError) as refusal:
        organizations.add(name)
    assert refusal.value.parameter == "name"
    with pytest.raises(ValidationError):
        organizations.rename(cast.surf, name)


@pytest.mark.parametrize("key", ["abc-evil.com/", "abc-x@evil.com", "abc-AU1", "abc-au1\n\nX: y"])
def test_a_key_of_a_strange_form_is_refused_without_repeating_it(key: str, cast: Cast) -> None:
    with pytest.raises(ValidationError) as refusal:
        organizations.add("Clinic", key)
    assert refusal.value.parameter == "api_key"
    assert key not in refusal.value.message


def test_a_connection_test_tells_the_account_and_the_patients(cast: Cast) -> None:
    report = connection.test_connection(cast.surf, actor=cast.bob)

    assert (report.account.id, report.account.name) == ("12345", "Surf Rehab")
    assert report.total_patients == 602
    assert cast.surf.cliniko_patients == 602
    assert cast.surf.connection_error_code is None
    assert cast.surf.connection_checked_at is not None


def test_a_wrong_key_is_remembered_with_its_reason(cast: Cast, cliniko: Simulator) -> None:
    cliniko.accounts[0].users[0].keys[SURF_KEY] = KeyState.REVOKED

    with pytest.raises(AuthFailed):
        connection.test_connection(cast.surf, actor=cast.bob)
    db.session.expire_all()
    assert cast.surf.connection_error_code == "CLINIKO_AUTH_FAILED"


def test_a_key_without_rights_is_forbidden(cast: Cast, cliniko: Simulator) -> None:
    cliniko.accounts[0].users[0].keys[SURF_KEY] = KeyState.FORBIDDEN

    with pytest.raises(Forbidden):
        connection.test_connection(cast.surf, actor=cast.bob)


def test_a_connection_test_does_not_wait_for_the_limit(cast: Cast, cliniko: Simulator) -> None:
    cliniko.faults.add("rate_limited", retry_after=40, times=None)

    with pytest.raises(RateLimited) as refusal:
        connection.test_connection(cast.surf, actor=cast.bob)
    assert refusal.value.retry_after == 40


def test_trouble_of_cliniko_is_not_tried_again_while_somebody_watches(
    cast: Cast, cliniko: Simulator
) -> None:
    cliniko.faults.add("status", status=500, times=None)

    with pytest.raises(Unavailable):
        connection.test_connection(cast.surf, actor=cast.bob)
    assert len(cliniko.requests) == 1


def test_a_clinic_without_a_key_cannot_be_tested(cast: Cast) -> None:
    with pytest.raises(ClinikoNotConfigured):
        connection.test_connection(organizations.add("Keyless"), actor=None)


def test_the_key_of_another_account_is_refused(cast: Cast) -> None:
    connection.test_connection(cast.surf, actor=cast.bob)
    before = cast.surf.encrypted_api_key

    with pytest.raises(AccountMismatch):
        organizations.replace_key(cast.surf, NORTHSIDE_KEY)
    db.session.expire_all()
    assert cast.surf.encrypted_api_key == before


def test_a_key_that_cliniko_refuses_is_not_stored(cast: Cast) -> None:
    with pytest.raises(AuthFailed):
        organizations.replace_key(cast.surf, "unknown-au1")
    assert credentials.decrypt(cast.surf.id, cast.surf.encrypted_api_key or "") == SURF_KEY


def test_a_key_is_stored_when_cliniko_cannot_be_asked(cast: Cast, cliniko: Simulator) -> None:
    cliniko.faults.add("status", status=503, times=None)

    organizations.replace_key(cast.surf, "another-au2")

    assert (cast.surf.shard, cast.surf.api_key_hint) == ("au2", "ther")


def test_a_manager_sees_their_own_clinic_only(cast: Cast) -> None:
    assert organizations.visible_to(cast.bob) == [cast.surf]
    assert organizations.visible_to(cast.charlie) == [cast.northside]
