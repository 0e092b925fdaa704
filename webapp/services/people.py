"""The people who may sign in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from webapp.clock import now
from webapp.errors import AddressTaken, NotFound, OrganizationNotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import ApiToken, Invitation, Organization, Role, User
from webapp.services import (
    account_notices,
    audit,
    callers,
    email_addresses,
    failed_sign_ins,
    passwords,
)
from webapp.services.audit_events import Event


def create(
    email: str,
    password: str,
    *,
    role: Role,
    organization_id: int | None = None,
) -> User:
    """Add a person in nobody's name. Admins belong to no clinic, everybody else to one.

    Raises ValidationError for an e-mail address or password that cannot be used or a role without
    its clinic, OrganizationNotFound for a clinic that does not exist.
    """
    email = email_addresses.checked(email)
    organization = organization_id and db.session.get(Organization, organization_id)
    about = (email, organization.name) if organization else (email,)
    password_hash = passwords.hashed(password, about=about)
    try:
        with transaction():
            user = add(email, password_hash, role=role, organization_id=organization_id)
            record(Event.PERSON_ADDED, user, actor=None, role=role)
            return user
    except IntegrityError as error:
        raise AddressTaken() from error


def add(email: str, password_hash: str, *, role: Role, organization_id: int | None) -> User:
    """Add a person, inside the caller's transaction. Raises as `create` does, and IntegrityError
    for an address that somebody has already."""
    check_place(role, organization_id)
    place: dict[str, Any] = {"role": role, "organization_id": organization_id}
    db.session.add(user := User(email=email, password_hash=password_hash, **place))
    db.session.flush()
    return user


def set_password(user: User, password: str, *, actor: User | None = None) -> None:
    """Give a person another password; their sessions and tokens end. Raises ValidationError."""
    password_hash = hashed_for(user, password)
    with changing(user):
        take_password(user, password_hash, actor=actor)


def hashed_for(user: User, password: str) -> str:
    """The hash of a password that this person has chosen. Raises ValidationError for one that is
    too short for them, too long, guessed first, or breached."""
    clinic = user.organization.name if user.organization else ""
    return passwords.hashed(password, about=(user.email, clinic), least=least_for(user))


def least_for(user: User) -> int:
    """How many characters a password of this person must have."""
    with_code = user.second_factor_since is not None
    return passwords.MIN_LENGTH_WITH_CODE if with_code else passwords.MIN_LENGTH


def end_sessions(user: User, *, actor: User | None = None) -> None:
    """End all that a person has opened: sessions, tokens and links."""
    with changing(user, Event.SIGNED_OUT_EVERYWHERE, actor=actor):
        end_everything_of(user)


def take_password(user: User, password_hash: str, *, actor: User | None) -> None:
    """Replace a person's password, inside the caller's transaction; their sessions and tokens
    end, and failed tries to sign in are forgotten."""
    user.password_hash = password_hash
    user.invited = False
    user.failures_in_a_row = 0
    end_everything_of(user)
    record(Event.PASSWORD_CHANGED, user, actor=actor)


def deactivate(user: User, *, actor: User | None = None) -> None:
    """Let somebody in no more; their sessions, tokens and links end. Raises ValidationError for the
    last admin, NotFound if the person was made somebody else's meanwhile."""
    with changing(user):
        if user.active:
            keep_an_admin(user)
            user.active = False
            end_everything_of(user)
            record(Event.PERSON_DEACTIVATED, user, actor=actor)


def activate(user: User, *, actor: User | None = None) -> bool:
    """Let somebody in again, with the password they had if they have one; False if they were active
    already. Raises as `deactivate` does, and OrganizationNotFound if their clinic was deleted."""
    with changing(user):
        check_place(Role(user.role), user.organization_id)
        if user.active:
            return False
        user.active = True
        record(Event.PERSON_ACTIVATED, user, actor=actor)
        return True


@contextmanager
def changing(
    user: User, event: Event | None = None, *, actor: User | None = None, **details: Any
) -> Iterator[None]:
    """Change a person in one transaction, which locks them first and records `event` last. Without
    an event the caller records what is done.

    Raises NotFound if their role or clinic has changed since they were loaded: whoever was allowed
    to change them may not be any more. Raises what `callers.refuse_if_changed` does if they change
    themselves.
    """
    allowed = (user.role, user.organization_id)
    with transaction() as session:
        if user.role == Role.ADMIN:
            _admins_who_can_help()
        # "of": they may have been loaded with their clinic, which PostgreSQL does not lock.
        session.refresh(user, with_for_update={"of": User})
        if (user.role, user.organization_id) != allowed:
            raise NotFound()
        callers.refuse_if_changed(user.id)
        yield
        if event is not None:
            record(event, user, actor=actor, left=(allowed[1],), **details)


def record(
    event: Event,
    user: User,
    *,
    actor: User | None,
    left: tuple[int | None, ...] = (),
    begins_anew: bool = False,
    **details: Any,
) -> None:
    """Record an event about a person, and mail them if they are to hear of it. It goes into the
    chain of their clinic (an admin: of no clinic) and of each clinic they `left`; there only the
    role is told. The last step of the caller's transaction."""
    account_notices.tell(event, user, actor=actor, begins_anew=begins_anew)
    # In one order, so that two who are moved to each other's clinics do not wait for each other.
    for organization_id in sorted({user.organization_id, *left}, key=lambda clinic: clinic or 0):
        here = organization_id == user.organization_id
        told = {name: details[name] for name in details if here or name == "role"}
        audit.record(
            event,
            actor=actor,
            organization_id=organization_id,
            subject=f"person {user.id}",
            **(told | {"person": user.email}),
        )


def visible_to(actor: User) -> list[User]:
    """The people whom somebody manages: everybody for an admin, else those of their clinic."""
    query = select(User).options(joinedload(User.organization)).order_by(User.email)
    if actor.organization_id is not None:
        query = query.where(User.organization_id == actor.organization_id)
    return list(db.session.scalars(query))


def by_email(email: str) -> User | None:
    """The active person with this address, written in any case."""
    return db.session.scalar(
        select(User).where(User.email == email_addresses.normalized(email), User.active)
    )


def anybody_by_email(email: str) -> User | None:
    """The person with this address, written in any case, active or not."""
    return db.session.scalar(select(User).where(User.email == email_addresses.normalized(email)))


def by_id(user_id: int) -> User | None:
    """The active person with this id."""
    return db.session.scalar(select(User).where(User.id == user_id, User.active))


def authenticate(
    email: str, password: str, *, again: bool = False, counts: bool = True
) -> User | None:
    """The person, if address and password belong together; else None. Takes as long for an unknown
    address. It signs nobody in: a second factor was not shown yet. `again`: they are signed in.
    `counts`: a wrong password counts towards closing the account.

    Raises ValidationError for a password that is too long to be one, or too short to stand alone;
    AccountClosed for any of somebody who is signed in and whose account was closed.
    """
    user = by_email(email)
    right = passwords.matches(password, user.password_hash if user else None)
    if user is None:
        return None
    if not right or user.is_closed:
        failed_sign_ins.note(user, again=again, counts=counts)
        return None
    epoch = user.session_epoch
    failed_sign_ins.succeeded(user, password)
    # Unless all they had was ended meanwhile: this may be the password that was replaced.
    return user if user.session_epoch == epoch else None


def check_place(role: Role, organization_id: int | None) -> None:
    """Raise ValidationError for a role without its clinic, OrganizationNotFound."""
    if (role is Role.ADMIN) != (organization_id is None):
        raise ValidationError(
            "A manager or viewer belongs to one organization, an admin to none.",
            parameter="organization",
        )
    if organization_id is not None:
        organization = db.session.get(Organization, organization_id)
        if organization is None or organization.deleted_at is not None:
            raise OrganizationNotFound(organization_id=organization_id)


def keep_an_admin(user: User) -> None:
    """Raise ValidationError for the last admin, inside the caller's transaction."""
    if user.role == Role.ADMIN and user.active and _admins_who_can_help() <= {user.id}:
        raise ValidationError(
            "This is the last admin. Make somebody else an admin first.", parameter="role"
        )


def _admins_who_can_help() -> set[int]:
    """Locked, in one order, so that of two admins who remove each other at once one stays and
    neither waits for the other. One who was invited and has no password yet could help nobody."""
    admins = select(User.id).where(User.role == Role.ADMIN, User.active, ~User.invited)
    return set(db.session.scalars(admins.order_by(User.id).with_for_update()))


def end_everything_of(user: User) -> None:
    """End a person's sessions and tokens, and delete their links for choosing a password, inside
    the caller's transaction. Links that they made for others go too, for they know them."""
    user.session_epoch += 1
    callers.goes_on(user)
    theirs = (ApiToken.user_id == user.id) & ApiToken.revoked_at.is_(None)
    db.session.execute(update(ApiToken).where(theirs).values(revoked_at=now()))
    links = (Invitation.user_id == user.id) | (Invitation.made_by_id == user.id)
    db.session.execute(delete(Invitation).where(links))
