"""GET /clinics/<id>/settings and the two forms on it"""

from __future__ import annotations

import pytest
from sqlalchemy import select

from simulator.server import Simulator
from tests.api.rows import record, store
from tests.cast import NORTHSIDE_KEY, SURF_KEY, Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.databases import on_both
from webapp.cliniko.client import Account
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, Organization, Patient
from webapp.services import connection, credentials, organizations
from webapp.sync import forgotten


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/settings"


def stored_key(cast: Cast) -> str:
    db.session.refresh(cast.surf)
    assert cast.surf.encrypted_api_key is not None
    return credentials.decrypt(cast.surf.id, cast.surf.encrypted_api_key)


def test_it_shows_what_the_key_ends_with_and_where_it_leads(bob: Visitor, path: str) -> None:
    page = bob.get(path)
    assert "••••••••hhYg" in text_of(page)
    assert "Australia · au1" in text_of(page)
    assert SURF_KEY not in page.text


def test_a_clinic_can_be_renamed(bob: Visitor, path: str) -> None:
    answer = bob.post(f"{path}/name", name="  Surf   Rehab Bondi ")
    assert answer.headers["Location"] == path
    page = text_of(bob.get(path))
    assert "Surf Rehab Bondi" in page
    assert "The name was saved." in page


def test_a_name_that_cannot_be_is_told_at_its_field(bob: Visitor, path: str) -> None:
    answer = bob.post(f"{path}/name", name="x" * 300)
    assert answer.status_code == 422
    assert Parsed(answer.text).having(name="name")[0]["aria-invalid"] == "true"
    assert "Surf Rehab" in text_of(bob.get(path))


def test_a_key_of_the_same_account_is_taken(
    bob: Visitor, path: str, cast: Cast, cliniko: Simulator
) -> None:
    cliniko.accounts[0].add_key("another-good-key-au1")
    connection.test_connection(cast.surf, actor=cast.bob)

    bob.post(f"{path}/api-key", api_key=" another-good-key-au1 ")
    assert stored_key(cast) == "another-good-key-au1"
    assert "The new API key was saved." in text_of(bob.get(path))


def test_a_key_of_another_account_is_refused(bob: Visitor, path: str, cast: Cast) -> None:
    connection.test_connection(cast.surf, actor=cast.bob)
    answer = bob.post(f"{path}/api-key", api_key=NORTHSIDE_KEY)
    assert answer.status_code == 422
    assert "another Cliniko account" in text_of(answer)
    assert stored_key(cast) == SURF_KEY


def test_a_key_of_another_account_is_refused_if_that_is_known_only_since_a_moment(
    bob: Visitor, path: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A first sync binds the clinic while Cliniko is asked about Bob's key.
    check, surf = connection.check_account, cast.surf.id

    def check_and_bind(organization: Organization, account: Account) -> None:
        check(organization, account)
        with transaction() as session:
            session.get_one(Organization, surf).cliniko_id = "1"

    monkeypatch.setattr(connection, "check_account", check_and_bind)
    answer = bob.post(f"{path}/api-key", api_key=NORTHSIDE_KEY)

    assert answer.status_code == 422
    assert "another Cliniko account" in text_of(answer)
    assert stored_key(cast) == SURF_KEY


def test_a_key_that_cliniko_refuses_is_not_stored(bob: Visitor, path: str, cast: Cast) -> None:
    answer = bob.post(f"{path}/api-key", api_key="nobody-knows-this-au1")
    assert answer.status_code == 422
    assert "Cliniko does not accept the API key" in text_of(answer)
    assert "nobody-knows-this" not in answer.text
    assert stored_key(cast) == SURF_KEY


@on_both
def test_the_trail_tells_that_a_key_was_refused_and_nothing_of_the_key(
    bob: Visitor, path: str, cast: Cast
) -> None:
    bob.post(f"{path}/api-key", api_key="nobody-knows-this-au1")
    db.session.rollback()
    newest = db.session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert newest is not None
    assert (newest.event, newest.chain) == ("clinic:key_refused", cast.surf.id)
    assert newest.details == {"error_code": "CLINIKO_AUTH_FAILED"}
    assert "entered a Cliniko API key that was refused" in text_of(
        bob.get(f"/clinics/{cast.surf.id}/audit")
    )


@pytest.mark.parametrize("api_key", ["", "a-evil.example/", "a@b-au1\r\nX: y"])
def test_a_key_of_impossible_form_is_told_at_its_field(
    bob: Visitor, path: str, cast: Cast, api_key: str
) -> None:
    answer = bob.post(f"{path}/api-key", api_key=api_key)
    assert answer.status_code == 422
    assert Parsed(answer.text).having(name="api_key")[0]["aria-invalid"] == "true"
    assert stored_key(cast) == SURF_KEY


def test_whoever_tries_key_after_key_is_told_at_its_field(bob: Visitor, path: str) -> None:
    answers = [bob.post(f"{path}/api-key", api_key="nobody-knows-this-au1") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert "You have tested connections or saved keys 10 times" in text_of(answers[-1])
    assert Parsed(answers[-1].text).having(name="api_key")[0]["aria-invalid"] == "true"


def test_an_admin_disables_and_enables_a_clinic(
    alice: Visitor, bob: Visitor, path: str, cast: Cast
) -> None:
    assert alice.post(f"{path}/disable").headers["Location"] == path
    page = alice.get(f"/clinics/{cast.surf.id}")
    assert "This clinic is disabled" in text_of(page)
    assert "Sync all patients" not in text_of(page)
    assert "Disabled" in text_of(alice.get("/clinics"))

    for theirs in ("/clinics", path, f"/clinics/{cast.surf.id}", "/account", "/people"):
        refused = bob.get(theirs)
        assert refused.status_code == 403
        assert "This clinic is disabled: only admins can see it" in text_of(refused)
        assert "To the clinics" not in text_of(refused)  # which they cannot see either

    alice.post(f"{path}/enable")
    assert bob.get(path).status_code == 200
    assert "This clinic is disabled" not in text_of(bob.get(path))


def test_a_start_of_a_disabled_clinic_is_answered_with_the_reason(
    alice: Visitor, path: str, cast: Cast
) -> None:
    alice.post(f"{path}/disable")
    answer = alice.post(f"/clinics/{cast.surf.id}/syncs")
    assert "no sync starts" in text_of(alice.get(answer.headers["Location"]))
    assert "no sync starts" in alice.post_fragment(f"/clinics/{cast.surf.id}/syncs").text


def test_only_an_admin_sees_how_a_clinic_is_disabled_or_deleted(
    alice: Visitor, bob: Visitor, path: str
) -> None:
    assert "Disable or delete" in text_of(alice.get(path))
    assert "Disable or delete" not in text_of(bob.get(path))


def test_a_clinic_is_deleted_by_typing_its_name(alice: Visitor, path: str) -> None:
    refused = alice.post(f"{path}/delete", confirmation="Surf")
    assert refused.status_code == 422
    assert Parsed(refused.text).having(name="confirmation")[0]["aria-invalid"] == "true"
    assert alice.get(path).status_code == 200

    assert alice.post(f"{path}/delete", confirmation="Surf Rehab").headers["Location"] == "/clinics"

    page = text_of(alice.get("/clinics"))
    assert "Surf Rehab was deleted." in page
    assert alice.get(path).status_code == 404
    assert "Surf Rehab" not in text_of(alice.get("/clinics"))


def test_of_two_clinics_of_the_same_name_it_is_said_which_is_disabled_or_deleted(
    alice: Visitor, cast: Cast, path: str
) -> None:
    assert "Another clinic has a name like this one" not in text_of(alice.get(path))

    organizations.rename(cast.northside, "Surf Rehab")
    words = text_of(alice.get(path))
    assert f"Disable Surf Rehab #{cast.surf.id}?" in words
    assert f"Another clinic has a name like this one: this is Surf Rehab #{cast.surf.id}." in words
    refused = alice.post(f"{path}/delete", confirmation="Surf Rehab")
    assert "This is not the name of the clinic" in text_of(refused)
    alice.post(f"{path}/delete", confirmation=f"Surf Rehab #{cast.surf.id}")
    page = text_of(alice.get("/clinics"))
    assert f"Surf Rehab #{cast.surf.id} was deleted." in page
    assert "Surf Rehab au2" in page


def test_whoever_deletes_a_clinic_is_told_that_its_forgotten_patients_could_come_back(
    alice: Visitor, path: str, cast: Cast
) -> None:
    told = "forgotten here. If this Cliniko account is added again, its syncs bring"
    store(cast.surf, record(1, "Olivia", "Nguyen"), record(2, "Mia", "Chen"))
    assert told not in text_of(alice.get(path))
    for said in (f"1 patient was {told} this patient back", f"2 patients were {told} them back"):
        patient = db.session.scalars(select(Patient).order_by(Patient.id)).first()
        assert patient is not None
        forgotten.forget(cast.surf, patient, actor=cast.bob)
        assert said in text_of(alice.get(path))
    assert told in text_of(alice.post(f"{path}/delete", confirmation="Surf"))
    assert told not in text_of(alice.get(f"/clinics/{cast.northside.id}/settings"))


def test_people_of_a_deleted_clinic_are_signed_out(alice: Visitor, bob: Visitor, path: str) -> None:
    alice.post(f"{path}/delete", confirmation="Surf Rehab")
    assert bob.get("/clinics").headers["Location"].startswith("/sign-in")


def test_who_came_to_a_clinic_while_it_was_deleted_is_let_in_nowhere(
    bob: Visitor, cast: Cast
) -> None:
    with transaction():
        cast.surf.deleted_at = now()  # and bob was activated by somebody else at that moment
    for page in ("/clinics", "/people", "/account"):
        assert bob.get(page).status_code == 403
    assert bob.post("/account/sign-out-everywhere").status_code == 403
