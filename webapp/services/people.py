"""The people who may sign in."""

from __future__ import annotations

import re

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from webapp.clock import now
from webapp.errors import OrganizationNotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import ApiToken, Organization, Role, User
from webapp.services import passwords

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def create(email: str, password: str, *, role: Role, organization_id: int | None = None) -> User:
    """Add a person. Admins belong to no clinic, everybody else to one.

    Raises ValidationError for an e-mail address or password that cannot be used or a role without
    its clinic, OrganizationNotFound for a clinic that does not exist.
    """
    email = normalized(email)
    if len(email) > 320 or not _EMAIL.fullmatch(email):
        raise ValidationError("This is not an e-mail address.", parameter="email")
    if (role is Role.ADMIN) != (organization_id is None):
        raise ValidationError(
            "A manager or viewer belongs to one organization, an admin to none.",
            parameter="organization",
        )
    password_hash = passwords.hashed(password)
    try:
        with transaction() as session:
            if organization_id is not None and session.get(Organization, organization_id) is None:
                raise OrganizationNotFound(organization_id=organization_id)
            user = User(
                email=email, password_hash=password_hash, role=role, organization_id=organization_id
            )
            session.add(user)
    except IntegrityError as error:
        raise ValidationError(
            "Somebody with this e-mail address exists already.", parameter="email"
        ) from error
    return user


def set_password(user: User, password: str) -> None:
    """Give a person another password; their sessions and tokens end. Raises ValidationError."""
    password_hash = passwords.hashed(password)
    with transaction() as session:
        user.password_hash = password_hash
        user.session_epoch += 1
        theirs = (ApiToken.user_id == user.id) & ApiToken.revoked_at.is_(None)
        session.execute(update(ApiToken).where(theirs).values(revoked_at=now()))


def by_email(email: str) -> User | None:
    """The active person with this address, written in any case."""
    return db.session.scalar(select(User).where(User.email == normalized(email), User.active))


def authenticate(email: str, password: str) -> User | None:
    """The person, if address and password belong together; unknown addresses take as long."""
    user = by_email(email)
    if passwords.matches(password, user.password_hash if user else None):
        return user
    return None


def normalized(email: str) -> str:
    """The form in which an address is stored and compared."""
    return email.strip().lower()
