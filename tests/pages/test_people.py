"""GET and POST /people: who may sign in, invited by a link, with which role, and no more"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm.attributes import set_committed_value
from werkzeug.test import TestResponse

from tests.cast import PASSWORD, Cast
from tests.codes import set_up
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.databases import on_both
from webapp.errors import AuthenticationRequired, NotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, Invitation, Notice, Role, User
from webapp.services import invitations, organizations, people, roles, sessions, tokens

PATH = "/people"


def fresh(user: User) -> User:
    db.session.rollback()  # see what the requests have written
    return db.session.get_one(User, user.id)


def known(email: str) -> User | None:
    db.session.rollback()
    return people.by_email(email)


def test_an_admin_sees_everybody_a_manager_their_clinic_a_viewer_nobody(
    alice: Visitor, bob: Visitor, vera: Visitor, cast: Cast
) -> None:
    words = text_of(alice.get(PATH))
    everybody = (cast.alice, cast.bob, cast.vera, cast.charlie)
    assert all(user.email in words for user in everybody)
    words = text_of(bob.get(PATH))
    assert cast.vera.email in words
    assert cast.charlie.email not in words
    assert cast.alice.email not in words
    assert vera.get(PATH).status_code == 403
    assert "People" not in text_of(vera.get("/clinics"))


def test_somebody_is_invited_into_a_clinic_by_a_link(
    alice: Visitor, visitor: Visitor, cast: Cast
) -> None:
    clinic = str(cast.surf.id)
    page = alice.post(PATH, email="Nina@Example.com ", role="viewer", organization=clinic)
    assert "nina@example.com" in text_of(page)
    nina = known("nina@example.com")
    assert nina is not None
    assert (nina.role, nina.organization_id, nina.state) == ("viewer", cast.surf.id, "invited")
    (field,) = Parsed(page.text).having(id="link")
    link = page.text.split('id="link"')[1].split(">")[1].split("<")[0]
    assert field["readonly"] is None  # there, without a value
    assert link.startswith("http://localhost/invitation?secret=")
    assert link not in alice.get(PATH).text


def test_a_manager_invites_into_their_own_clinic_only(bob: Visitor, cast: Cast) -> None:
    assert bob.post(PATH, email="a@example.com", role="manager").status_code == 200
    somebody = known("a@example.com")
    assert somebody is not None
    assert somebody.organization_id == cast.surf.id
    elsewhere = {"role": "viewer", "organization": str(cast.northside.id)}
    assert bob.post(PATH, email="b@example.com", **elsewhere).status_code == 403
    assert bob.post(PATH, email="c@example.com", role="admin").status_code == 403
    assert known("b@example.com") is known("c@example.com") is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"email": "nobody", "role": "admin"}, "This is not an e-mail address."),
        ({"email": "BOB@example.com", "role": "admin"}, "exists already"),
        ({"email": "n@example.com"}, "Choose what this person may do."),
        ({"email": "n@example.com", "role": "viewer"}, "Choose the clinic"),
    ],
)
def test_what_cannot_be_is_said_beside_the_field(
    alice: Visitor, fields: dict[str, str], says: str
) -> None:
    answer = alice.post(PATH, **fields)
    assert answer.status_code == 422
    assert says in text_of(answer)
    (refused,) = Parsed(answer.text).having(aria_invalid="true")
    assert "autofocus" in refused  # the form stands below all people


def test_another_role_holds_at_once_and_signs_out(alice: Visitor, bob: Visitor, cast: Cast) -> None:
    token, _ = tokens.issue(cast.bob, name="Report")
    answer = alice.post(f"{PATH}/{cast.bob.id}/role", role="viewer", organization=str(cast.surf.id))
    assert answer.status_code == 303
    assert fresh(cast.bob).role == Role.VIEWER
    assert people.authenticate(cast.bob.email, PASSWORD) is not None
    assert bob.get("/clinics").status_code == 303
    with pytest.raises(AuthenticationRequired):
        tokens.row_of(token)


@pytest.mark.parametrize(("role", "clinic"), [("manager", "northside"), ("admin", "")])
def test_who_sees_other_patients_from_now_on_begins_anew(
    alice: Visitor, cast: Cast, role: str, clinic: str
) -> None:
    """Whoever made Bob's link, a manager of his clinic, may have used it: with a password and a
    second factor of their own they would come along to where they may not be."""
    set_up(cast.bob)
    place = str(getattr(cast, clinic).id) if clinic else ""
    answer = alice.post(f"{PATH}/{cast.bob.id}/role", role=role, organization=place)
    assert answer.status_code == 200
    bob = fresh(cast.bob)
    assert (bob.role, bob.invited, bob.second_factor_since) == (role, True, None)
    assert people.authenticate(bob.email, PASSWORD) is None
    link = answer.text.split('id="link"')[1].split(">")[1].split("<")[0]
    assert invitations.user_of(link.partition("secret=")[2]) is bob


def test_a_manager_makes_nobody_an_admin_and_moves_nobody_elsewhere(
    bob: Visitor, cast: Cast
) -> None:
    path = f"{PATH}/{cast.vera.id}/role"
    assert bob.post(path, role="admin").status_code == 403
    assert bob.post(path, role="viewer", organization=str(cast.northside.id)).status_code == 403
    assert fresh(cast.vera).role == Role.VIEWER
    assert bob.post(path, role="manager").status_code == 303
    assert fresh(cast.vera).role == Role.MANAGER


@pytest.mark.parametrize("what", ["link", "role", "deactivate", "activate", "sign-out"])
def test_people_of_other_clinics_and_admins_are_not_there_for_a_manager(
    bob: Visitor, cast: Cast, what: str
) -> None:
    for person in (cast.charlie.id, cast.alice.id, 9999):
        assert bob.post(f"{PATH}/{person}/{what}", role="viewer").status_code == 404


def test_a_deactivated_person_is_out_until_somebody_activates_them(
    alice: Visitor, bob: Visitor, cast: Cast
) -> None:
    assert alice.post(f"{PATH}/{cast.bob.id}/deactivate").status_code == 303
    assert fresh(cast.bob).state == "deactivated"
    assert bob.get("/clinics").status_code == 303
    assert "Deactivated" in text_of(alice.get(PATH))
    assert alice.post(f"{PATH}/{cast.bob.id}/activate").status_code == 303
    assert fresh(cast.bob).state == "active"


def recorded_of(person: User) -> list[str]:
    db.session.rollback()
    theirs = AuditEvent.subject == f"person {person.id}"
    rows = db.session.scalars(select(AuditEvent).where(theirs).order_by(AuditEvent.id))
    return [row.event for row in rows]


@on_both
def test_what_is_as_it_is_wanted_already_is_not_done_once_more(
    alice: Visitor, app: Flask, cast: Cast
) -> None:
    app.config["SMTP_URL"] = "smtp://mail.example"
    for what in ("deactivate", "deactivate", "activate", "activate"):
        assert alice.post(f"{PATH}/{cast.bob.id}/{what}").status_code == 303
    words = text_of(alice.get(PATH))
    assert "bob@example.com is active already. Nothing was changed." in words
    assert recorded_of(cast.bob) == ["person:deactivated", "person:activated"]
    theirs = select(Notice.subject).where(Notice.recipient == "bob@example.com")
    assert list(db.session.scalars(theirs.order_by(Notice.id))) == [
        "Your account was deactivated",
        "Your account was activated again",
    ]


def test_a_page_from_before_somebody_was_activated_makes_no_link_in_place_of_theirs(
    alice: Visitor, cast: Cast
) -> None:
    clinic = cast.surf.id
    nina, _ = invitations.invite("nina@example.com", role=Role.VIEWER, organization_id=clinic)
    people.deactivate(nina)
    answer = alice.post(f"{PATH}/{nina.id}/activate")
    link = answer.text.split('id="link"')[1].split(">")[1].split("<")[0]

    answer = alice.post(f"{PATH}/{nina.id}/activate")

    assert answer.status_code == 303
    db.session.rollback()
    assert invitations.user_of(link.partition("secret=")[2]) is nina
    assert recorded_of(nina)[-2:] == ["person:activated", "person:link_made"]


def test_who_is_activated_with_an_account_that_was_closed_needs_a_link(
    alice: Visitor, cast: Cast
) -> None:
    with transaction():
        cast.bob.failures_in_a_row = 100
    people.deactivate(cast.bob)
    alice.post(f"{PATH}/{cast.bob.id}/activate")
    assert "bob@example.com can sign in with a new link." in text_of(alice.get(PATH))


def test_an_account_that_was_closed_stands_there_as_such_until_a_new_link_is_used(
    alice: Visitor, cast: Cast
) -> None:
    with transaction():
        cast.bob.failures_in_a_row = 100
    assert "bob@example.com Manager Surf Rehab Closed a new link opens it" in text_of(
        alice.get(PATH)
    )
    answer = alice.post(f"{PATH}/{cast.bob.id}/link")
    assert "Closed" in text_of(answer)
    link = answer.text.split('id="link"')[1].split(">")[1].split("<")[0]
    db.session.rollback()
    invitations.accept(link.partition("secret=")[2], "nine herons read old maps")
    assert fresh(cast.bob).state == "active"
    assert "Closed" not in text_of(alice.get(PATH))


def test_of_an_account_that_was_closed_nothing_says_that_its_password_opens_it(
    alice: Visitor, cast: Cast
) -> None:
    set_up(cast.bob), set_up(cast.vera)
    with transaction():
        cast.bob.failures_in_a_row = 100
    page = text_of(alice.get(PATH))
    bobs, veras = (page.partition(f"Sign {user.email} out")[2] for user in (cast.bob, cast.vera))
    asked = bobs.partition("charlie@example.com")[0]
    assert "sign in again with their password" not in asked
    assert "To sign in again they need a new link: the account is closed." in asked
    assert "with the password alone" not in asked
    assert "To sign in they need a new link then: the account is closed." in asked
    assert "They can sign in again with their password." in veras
    assert "They sign in with the password alone until they set up another" in veras

    here = {"role": "viewer", "organization": str(cast.surf.id)}
    alice.post(f"{PATH}/{cast.bob.id}/role", **here)
    assert (
        "bob@example.com has the role viewer now, and needs a new link: the account is closed."
    ) in text_of(alice.get(PATH))
    for user, then in (
        (cast.bob, "has no second factor now, and needs a new link: the account is closed."),
        (cast.vera, "signs in with the password alone now."),
    ):
        alice.post(f"{PATH}/{user.id}/reset-second-factor")
        assert f"{user.email} {then}" in text_of(alice.get(PATH))


@pytest.mark.parametrize(
    ("closed", "then"),
    [(False, "can sign in once activated"), (True, "needs a new link once activated")],
)
def test_of_somebody_who_was_deactivated_nothing_says_that_they_can_sign_in_before_that_ends(
    alice: Visitor, cast: Cast, closed: bool, then: str
) -> None:
    set_up(cast.vera)
    with transaction():
        cast.vera.failures_in_a_row = 100 if closed else 0
    people.deactivate(cast.vera)

    here = {"role": "manager", "organization": str(cast.surf.id)}
    alice.post(f"{PATH}/{cast.vera.id}/role", **here)
    said = f"vera@example.com has the role manager now, and {then}."
    assert said in text_of(alice.get(PATH))

    alice.post(f"{PATH}/{cast.vera.id}/reset-second-factor")  # a page from before
    said = f"vera@example.com has no second factor now, and {then}."
    assert said in text_of(alice.get(PATH))


def test_a_page_from_before_somebody_was_deactivated_makes_no_link_for_them(
    alice: Visitor, cast: Cast
) -> None:
    alice.post(f"{PATH}/{cast.bob.id}/deactivate")
    answer = alice.post(f"{PATH}/{cast.bob.id}/link")
    assert answer.status_code == 400
    assert "bob@example.com was deactivated, so a link would not work" in text_of(answer)
    db.session.rollback()
    assert db.session.scalars(select(Invitation)).all() == []
    events = select(AuditEvent.event).where(AuditEvent.event == "person:link_made")
    assert db.session.scalars(events).all() == []


def test_somebody_whose_clinic_was_deleted_is_moved_before_they_are_activated(
    alice: Visitor, cast: Cast
) -> None:
    alice.post(f"/clinics/{cast.surf.id}/settings/delete", confirmation="Surf Rehab")
    activate, role = f"/people/{cast.vera.id}/activate", f"/people/{cast.vera.id}/role"
    page = Parsed(alice.get("/people").text)
    assert page.having(action=activate) == []
    assert page.having(href=role)
    assert "any unused link of theirs" in text_of(alice.get(role))
    alice.post(role, role="viewer", organization=str(cast.northside.id))
    assert Parsed(alice.get("/people").text).having(action=activate)
    alice.post(activate)
    db.session.rollback()
    assert cast.vera.active


def test_buttons_are_called_what_stands_on_them(alice: Visitor, cast: Cast) -> None:
    set_up(cast.bob)
    page = Parsed(alice.get("/people").text)
    labels = [
        found["aria-label"] for tag, found in page.tags if tag == "button" and "aria-label" in found
    ]
    for words in ("New link", "Sign out", "Reset second factor", "Deactivate"):
        assert any((label or "").startswith(words) for label in labels), words


def test_somebody_is_signed_out_everywhere_and_may_come_back(
    bob: Visitor, vera: Visitor, cast: Cast
) -> None:
    token, _ = tokens.issue(cast.vera, name="Report")
    assert bob.post(f"{PATH}/{cast.vera.id}/sign-out").status_code == 303
    assert "is signed out everywhere" in text_of(bob.get(PATH))
    assert vera.get("/clinics").status_code == 303
    vera_now = fresh(cast.vera)
    with pytest.raises(AuthenticationRequired):
        tokens.row_of(token)
    assert vera.signed_in(vera_now).get("/clinics").status_code == 200


def test_nobody_makes_a_link_for_themselves(alice: Visitor, cast: Cast) -> None:
    """Whoever finds a computer unlocked must not take the account over by one."""
    assert alice.post(f"{PATH}/{cast.alice.id}/link").status_code == 400


@pytest.mark.parametrize("what", ["role", "deactivate", "password", "sessions"])
def test_a_link_ends_with_everything_else_that_a_person_may_open(
    alice: Visitor, cast: Cast, what: str
) -> None:
    secret = invitations.renew(cast.vera)
    assert invitations.user_of(secret) is not None
    match what:
        case "role":
            alice.post(f"{PATH}/{cast.vera.id}/role", role="admin")
        case "deactivate":
            alice.post(f"{PATH}/{cast.vera.id}/deactivate")
            alice.post(f"{PATH}/{cast.vera.id}/activate")
        case "password":
            people.set_password(cast.vera, "a password of her own")
        case "sessions":
            people.end_sessions(cast.vera)
    db.session.rollback()
    assert invitations.user_of(secret) is None


def end_others(user: User) -> None:
    row, _ = sessions.begin(user, address="", agent="")
    sessions.end_others(row)


THEFTS: dict[str, Callable[[Cast], object]] = {
    "deactivated": lambda cast: people.deactivate(cast.bob, actor=cast.alice),
    "another role": lambda cast: roles.change(
        cast.bob, Role.VIEWER, cast.surf.id, actor=cast.alice
    ),
    "moved": lambda cast: roles.change(cast.bob, Role.MANAGER, cast.northside.id, actor=cast.alice),
    "signed out by an admin": lambda cast: people.end_sessions(cast.bob, actor=cast.alice),
    "signed out everywhere else": lambda cast: end_others(cast.bob),
    "another password": lambda cast: people.set_password(cast.bob, "a password of his own"),
}


@on_both
@pytest.mark.parametrize("how", THEFTS)
def test_a_link_ends_with_what_whoever_made_it_had_opened(cast: Cast, how: str) -> None:
    """They know it, and could come back by it; a link of somebody else's is none of theirs."""
    clinic = cast.surf.id
    nina, invited = invitations.invite(
        "nina@example.com", role=Role.MANAGER, organization_id=clinic, actor=cast.bob
    )
    renewed = invitations.renew(cast.vera, actor=cast.bob)
    _, of_a_command = invitations.invite(
        "nils@example.com", role=Role.VIEWER, organization_id=clinic
    )
    of_alice = invitations.renew(cast.charlie, actor=cast.alice)

    THEFTS[how](cast)

    db.session.rollback()
    assert invitations.user_of(invited) is None
    assert invitations.user_of(renewed) is None
    assert invitations.user_of(of_a_command) is not None
    assert invitations.user_of(of_alice) is not None
    assert invitations.user_of(invitations.renew(nina, actor=cast.alice)) is not None


def test_whoever_was_made_somebody_elses_meanwhile_is_not_changed(cast: Cast) -> None:
    """A manager was allowed to change Vera; before that is done she has become an admin."""
    viewer, surf_id = cast.vera.role, cast.surf.id
    roles.change(cast.vera, Role.ADMIN, None)
    changes: list[Callable[[], object]] = [
        lambda: roles.change(cast.vera, Role.MANAGER, surf_id),
        lambda: people.deactivate(cast.vera),
        lambda: invitations.renew(cast.vera),
    ]
    for change in changes:
        set_committed_value(cast.vera, "role", viewer)  # as when the permission was looked at
        set_committed_value(cast.vera, "organization_id", surf_id)
        with pytest.raises(NotFound):
            change()
    assert fresh(cast.vera).role == Role.ADMIN
    assert fresh(cast.vera).active


@pytest.mark.parametrize(
    "email",
    [
        *("n\u200bina@example.com", "n\u202ei@example.com", "n\0@a.com"),
        *("x@[1.2", "x@example.[com", "a(b@example.com", "a,b@example.com", '"a"@example.com'),
        *("<a@example.com>", "a@example..com", "a:b@example.com"),
        *("bob@=?utf-8?q?x?=.example.com", "=?utf-8?q?alice?=@example.com"),
    ],
)
def test_an_address_that_cannot_be_seen_as_it_is_or_written_to_is_refused(
    alice: Visitor, email: str
) -> None:
    assert alice.post(PATH, email=email, role="admin").status_code == 422


def test_an_admin_without_a_password_is_no_help(cast: Cast) -> None:
    invitations.invite("nina@example.com", role=Role.ADMIN, organization_id=None)
    with pytest.raises(ValidationError, match="last admin"):
        people.deactivate(cast.alice)


def test_a_choice_that_does_not_fit_is_said_on_the_page(alice: Visitor, cast: Cast) -> None:
    answer = alice.post(f"{PATH}/{cast.vera.id}/role", role="manager", organization="")
    assert answer.status_code == 422
    assert "Choose the clinic" in text_of(answer)
    page = Parsed(answer.text)
    assert page.having(name="organization")[0]["aria-invalid"] == "true"
    assert "manager" in [tag.get("value") for _, tag in page.tags if "selected" in tag]
    assert fresh(cast.vera).role == Role.VIEWER


def test_an_admin_for_one_clinic_does_not_become_an_admin_of_all(
    alice: Visitor, cast: Cast
) -> None:
    clinic = str(cast.surf.id)
    invited = alice.post(PATH, email="nina@example.com", role="admin", organization=clinic)
    changed = alice.post(f"{PATH}/{cast.vera.id}/role", role="admin", organization=clinic)
    for answer in (invited, changed):
        assert answer.status_code == 422
        (field,) = Parsed(answer.text).having(name="organization")
        assert field["aria-invalid"] == "true"
        assert "An admin belongs to no clinic" in text_of(answer)
    assert known("nina@example.com") is None
    assert fresh(cast.vera).role == Role.VIEWER


def test_no_clinic_is_chosen_for_whom_nobody_has_chosen_one(alice: Visitor) -> None:
    page = alice.get(PATH)
    assert "Choose a clinic No clinic (admins) Northside Physio" in text_of(page)
    assert [tag["value"] for _, tag in Parsed(page.text).tags if "selected" in tag] == ["manager"]


def chosen_on(page: TestResponse) -> list[str | None]:
    return [tag["value"] for _, tag in Parsed(page.text).tags if "selected" in tag]


def test_a_refused_invitation_keeps_what_was_chosen_and_the_next_begins_anew(
    alice: Visitor,
) -> None:
    admin = {"role": "admin", "organization": "0"}

    refused = alice.post(PATH, email="bob@example.com", **admin)
    assert chosen_on(refused) == ["admin", "0"]

    made = alice.post(PATH, email="nina@example.com", **admin)
    assert "A link for nina@example.com" in text_of(made)
    assert chosen_on(made) == ["manager"]


def test_a_role_is_changed_on_a_page_of_its_own_so_the_list_names_each_clinic_once(
    alice: Visitor, bob: Visitor, cast: Cast
) -> None:
    path = f"{PATH}/{cast.vera.id}/role"
    people = alice.get(PATH)
    assert Parsed(people.text).having(href=path)
    assert people.text.count(">Northside Physio</option>") == 1

    page = alice.get(path)
    assert "What may vera@example.com do?" in text_of(page)
    chosen = [tag["value"] for _, tag in Parsed(page.text).tags if "selected" in tag]
    assert chosen == ["viewer", str(cast.surf.id)]
    assert "Northside Physio" not in bob.get(path).text
    assert bob.get(f"{PATH}/{cast.charlie.id}/role").status_code == 404
    assert bob.get(f"{PATH}/{cast.bob.id}/role").status_code == 400


def test_clinics_of_the_same_name_are_told_apart_by_their_ids(
    alice: Visitor, bob: Visitor, cast: Cast
) -> None:
    organizations.rename(cast.northside, "Surf Rehab")
    people = alice.get(PATH)
    for page in (people, alice.get(f"{PATH}/{cast.vera.id}/role")):
        for clinic in (cast.surf, cast.northside):
            assert f">Surf Rehab #{clinic.id}</option>" in page.text
    assert f"charlie@example.com Manager Surf Rehab #{cast.northside.id} " in text_of(people)
    assert "#" not in text_of(bob.get(PATH))


@pytest.mark.parametrize("what", ["role", "deactivate", "activate", "sign-out"])
def test_nobody_changes_what_they_may_do_themselves(alice: Visitor, cast: Cast, what: str) -> None:
    answer = alice.post(f"{PATH}/{cast.alice.id}/{what}", role="viewer")
    assert answer.status_code == 400
    assert "Ask somebody else" in text_of(answer)


def test_the_last_admin_stays(alice: Visitor, cast: Cast) -> None:
    """However it comes about: here by the service, for the page lets nobody remove themselves."""
    with pytest.raises(ValidationError, match="last admin"):
        people.deactivate(cast.alice)
    with pytest.raises(ValidationError, match="last admin"):
        roles.change(cast.alice, Role.VIEWER, cast.surf.id)
    assert fresh(cast.alice).state == "active"
    assert fresh(cast.alice).role == Role.ADMIN


def test_it_tells_when_somebody_signed_in_last(alice: Visitor, cast: Cast) -> None:
    assert "Active never" in text_of(alice.get(PATH))
    sessions.begin(cast.bob, address="", agent="")
    assert "Active just now" in text_of(alice.get(PATH))


def test_a_manager_cannot_fill_the_page_with_people(
    alice: Visitor,
    bob: Visitor,
    cast: Cast,
    hashes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(invitations, "MOST_BY_MANAGERS", 3)  # Bob, Vera and one more
    assert bob.post(PATH, email="a@example.com", role="viewer").status_code == 200
    invited = known("a@example.com")
    assert invited is not None
    bob.post(f"{PATH}/{invited.id}/deactivate")
    hashes.clear()
    answer = bob.post(PATH, email="b@example.com", role="viewer")
    assert answer.status_code == 422
    assert hashes == []
    assert "Your clinic has 3 people already" in text_of(answer)
    assert Parsed(answer.text).having(name="email")[0]["aria-invalid"] == "true"
    assert known("b@example.com") is None
    place = {"role": "viewer", "organization": str(cast.surf.id)}
    assert alice.post(PATH, email="b@example.com", **place).status_code == 200


def test_whoever_asks_for_addresses_of_others_again_and_again_is_stopped(bob: Visitor) -> None:
    asked = [bob.post(PATH, email="charlie@example.com", role="viewer") for _ in range(6)]
    assert [answer.status_code for answer in asked] == [422] * 5 + [429]
    assert "5 times within an hour" in text_of(asked[-1])
    asked.append(bob.post(PATH, email="new@example.com", role="viewer"))
    assert asked[-1].status_code == 429
    for answer, email in zip(asked[-2:], ("charlie@example.com", "new@example.com"), strict=True):
        (field,) = Parsed(answer.text).having(name="email")
        assert (field["value"], field["aria-invalid"]) == (email, "true")
