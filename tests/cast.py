"""The people and clinics of the tests.

Alice is an admin. Bob manages Surf Rehab, Vera may look at its syncs. Charlie manages another
clinic, Northside Physio, and must never see anything of Surf Rehab.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update

from webapp.extensions import db, transaction
from webapp.models import Organization, Role, User
from webapp.services import organizations, passwords

PASSWORD = "seven surfers ate cold mangoes"
PASSWORD_HASH = passwords.hashed_anew(PASSWORD)  # once: a hash is made slow on purpose
SURF_KEY = "MS0xLTEyMzQ1LXN1cmZyZWhhYg-au1"
NORTHSIDE_KEY = "MS0yLTY3ODkwLW5vcnRoc2lkZQ-au2"


@dataclass(frozen=True)
class Cast:
    """Everybody, loaded in the session of the test."""

    alice: User
    bob: User
    vera: User
    charlie: User
    surf: Organization
    northside: Organization


def make_cast() -> Cast:
    """Put everybody into the database."""
    surf = organizations.add("Surf Rehab", SURF_KEY)
    northside = organizations.add("Northside Physio", NORTHSIDE_KEY)
    with transaction() as session:
        for person in (
            _user("alice@example.com", Role.ADMIN),
            _user("bob@example.com", Role.MANAGER, surf),
            _user("vera@example.com", Role.VIEWER, surf),
            _user("charlie@example.com", Role.MANAGER, northside),
        ):
            session.add(person)
            session.flush()  # in this order: tests name people by their ids
    return loaded_cast()


def loaded_cast() -> Cast:
    """Everybody whom `make_cast` has put there, with the hash of their password that holds now."""
    if db.session.scalar(select(User.password_hash).limit(1)) != PASSWORD_HASH:
        with transaction() as session:
            session.execute(update(User).values(password_hash=PASSWORD_HASH))
    surf, northside = db.session.scalars(select(Organization).order_by(Organization.id))
    alice, bob, vera, charlie = db.session.scalars(select(User).order_by(User.id))
    return Cast(alice, bob, vera, charlie, surf, northside)


def make_user(email: str, role: Role, organization: Organization | None = None) -> User:
    """A person with the password of all tests."""
    user = _user(email, role, organization)
    with transaction() as session:
        session.add(user)
    return user


def _user(email: str, role: Role, organization: Organization | None = None) -> User:
    organization_id = organization.id if organization else None
    return User(
        email=email, role=role, organization_id=organization_id, password_hash=PASSWORD_HASH
    )
