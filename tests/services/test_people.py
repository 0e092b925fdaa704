"""People and their passwords."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import select

from tests.cast import PASSWORD, Cast
from tests.support.databases import on_both
from webapp.errors import OrganizationNotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, Role, User
from webapp.models.audit_event import SERVICE_CHAIN
from webapp.services import people, roles


def test_a_person_signs_in_with_their_address_in_any_case(cast: Cast) -> None:
    assert people.authenticate("  BOB@Example.com ", PASSWORD) == cast.bob


@pytest.mark.parametrize("email", ["bob@example.com", "nobody@example.com", ""])
def test_a_wrong_password_is_nobody(email: str, cast: Cast) -> None:
    assert people.authenticate(email, "a wrong password of some length") is None


def test_who_was_deactivated_cannot_sign_in(cast: Cast) -> None:
    with transaction():
        cast.bob.active = False
    assert people.authenticate("bob@example.com", PASSWORD) is None


@pytest.mark.parametrize(
    ("email", "role", "with_clinic"),
    [
        ("no address", Role.VIEWER, True),
        ("bob@example.com", Role.VIEWER, True),
        ("new@example.com", Role.VIEWER, False),
        ("new@example.com", Role.ADMIN, True),
    ],
)
def test_who_cannot_be_added(email: str, role: Role, with_clinic: bool, cast: Cast) -> None:
    organization_id = cast.surf.id if with_clinic else None
    with pytest.raises(ValidationError):
        people.create(email, PASSWORD, role=role, organization_id=organization_id)


def test_nobody_belongs_to_a_clinic_that_does_not_exist(cast: Cast) -> None:
    with pytest.raises(OrganizationNotFound):
        people.create("new@example.com", PASSWORD, role=Role.VIEWER, organization_id=999)


@on_both
def test_who_is_moved_stands_in_the_trail_of_both_clinics(cast: Cast) -> None:
    surf, northside = cast.surf.id, cast.northside.id

    roles.change(cast.bob, Role.VIEWER, northside, actor=cast.alice)
    people.deactivate(cast.bob, actor=cast.alice)
    roles.change(cast.bob, Role.ADMIN, None, actor=cast.alice)

    db.session.rollback()
    theirs = AuditEvent.subject == f"person {cast.bob.id}"
    events = db.session.scalars(select(AuditEvent).where(theirs).order_by(AuditEvent.id))
    assert [(event.event, event.chain) for event in events][-5:] == [
        ("person:role_changed", surf),
        ("person:role_changed", northside),
        ("person:deactivated", northside),
        ("person:role_changed", SERVICE_CHAIN),
        ("person:role_changed", northside),
    ]


def test_a_new_password_ends_the_sessions(cast: Cast) -> None:
    before = cast.bob.session_epoch
    people.set_password(cast.bob, "another long password")
    assert cast.bob.session_epoch == before + 1


@on_both
def test_of_two_admins_who_remove_each_other_at_once_one_stays(app: Flask, cast: Cast) -> None:
    nina = people.create("nina@example.com", PASSWORD, role=Role.ADMIN)
    admins = [cast.alice.id, nina.id]

    def remove(user_id: int) -> bool:
        with app.app_context():
            try:
                people.deactivate(db.session.get_one(User, user_id))
            except ValidationError:
                return False
            return True

    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            assert sorted(threads.map(remove, admins)) == [False, True]
            for user_id in admins:
                people.activate(db.session.get_one(User, user_id))
