"""Links by which people choose their password: made for a new person, or for one who forgot it.

Whoever makes a link never learns a password. The row of a link lives as long as the link: it goes
when the link is used, when a newer one is made, and with everything else that ends what its person
may open, or whoever made it: they know the link, and could come back by it.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from urllib.parse import urlencode

from flask import current_app
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from webapp.clock import now
from webapp.errors import AddressTaken, NotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import Invitation, Role, User
from webapp.services import audit, email_addresses, passwords, people
from webapp.services.audit import Result
from webapp.services.audit_events import Event

PATH = "/invitation"
LIFETIME = timedelta(days=1)  # of a new person's link
LIFETIME_OF_A_RESET = timedelta(hours=1)  # of a link for somebody who has a password
# Nobody is ever removed, and pages list everybody: no manager may fill them.
MOST_BY_MANAGERS = 300


def invite(
    email: str, *, role: Role, organization_id: int | None, actor: User | None = None
) -> tuple[User, str]:
    """Add a person who has no password yet, and the secret of their link.

    Raises AddressTaken, ValidationError for an address that cannot be used, a role without its
    clinic or a clinic that has as many people as its managers may invite, OrganizationNotFound for
    a clinic that does not exist. Whoever may not see the person that has the address is not told
    that there is one.
    """
    email = email_addresses.checked(email)
    _check_room_for(actor)  # now too, for a hash is slow
    nobodys = passwords.nobodys()  # whoever has the address: guessing takes as long as ever
    try:
        with transaction():
            _check_room_for(actor)
            user = people.add(email, nobodys, role=role, organization_id=organization_id)
            user.invited = True
            secret = _link_for(user, actor)
            people.record(Event.PERSON_INVITED, user, actor=actor, role=role)
            return user, secret
    except IntegrityError as error:
        raise _address_taken(email, actor) from error


def renew(user: User, *, actor: User | None = None) -> str:
    """The secret of another link for a person; the earlier ones end. The password that they may
    have holds until the link is used. Raises ValidationError for somebody who was deactivated,
    NotFound if they were made somebody else's meanwhile."""
    with people.changing(user):
        if not user.active:
            raise ValidationError(
                f"{user.email} was deactivated, so a link would not work. Activate them first.",
                parameter="person",
            )
        return _link_for(user, actor)


def base_url(*, seen_at: str | None = None) -> str:
    """What links begin with: PUBLIC_URL, or where nothing is set, the address at which whoever asks
    sees us. Raises ValidationError if neither is known."""
    base: str | None = current_app.config["PUBLIC_URL"] or seen_at
    if base is None:
        raise ValidationError(
            "Set PUBLIC_URL to the address of the dashboard: the link begins with it.",
            parameter="PUBLIC_URL",
        )
    return base.rstrip("/")


def address(secret: str, *, base: str) -> str:
    """The link of a secret."""
    return f"{base}{PATH}?{urlencode({'secret': secret})}"


def user_of(secret: str) -> User | None:
    """Whose link this is; None if it was used, has expired, or is none."""
    invitation = _living(secret)
    return invitation.user if invitation else None


def accept(secret: str, password: str) -> User:
    """Take the password that somebody has chosen, and end the link with all that they had opened.

    Raises NotFound for a link that does not work, ValidationError for a password that cannot be
    used, and then the link still works.
    """
    user = user_of(secret)
    if user is None:
        raise NotFound()
    password_hash = people.hashed_for(user, password)
    # Of two who come at once, one finds the link gone.
    with people.changing(user, Event.LINK_USED, actor=user):
        if _living(secret) is None:
            raise NotFound()
        people.take_password(user, password_hash, actor=user)
        return user


def _check_room_for(actor: User | None) -> None:
    if actor is None or actor.organization_id is None:
        return
    theirs = User.organization_id == actor.organization_id
    here = db.session.scalar(select(func.count()).select_from(User).where(theirs)) or 0
    if here >= MOST_BY_MANAGERS:
        raise ValidationError(
            f"Your clinic has {here} people already, deactivated ones among them, and its managers "
            "can invite no more. Ask an admin of Patient Sync to do it.",
            parameter="email",
        )


def _address_taken(email: str, actor: User | None) -> AddressTaken:
    """Recorded, for this is how somebody would find out which addresses other clinics have."""
    audit.note(
        Event.INVITATION_REFUSED,
        actor=actor,
        organization_id=actor.organization_id if actor else None,
        result=Result.REFUSED,
        person=email,
    )
    if actor is None or any(user.email == email for user in people.visible_to(actor)):
        return AddressTaken()
    return AddressTaken(
        "You cannot invite this address. Check it, or ask an admin of Patient Sync."
    )


def _link_for(user: User, actor: User | None) -> str:
    secret = secrets.token_urlsafe(32)
    ends = now() + (LIFETIME if user.invited else LIFETIME_OF_A_RESET)
    db.session.execute(delete(Invitation).where(Invitation.user_id == user.id))
    db.session.add(
        Invitation(
            user_id=user.id,
            made_by_id=actor and actor.id,
            secret_digest=_digest(secret),
            expires_at=ends,
        )
    )
    people.record(Event.LINK_MADE, user, actor=actor)
    return secret


def _living(secret: str) -> Invitation | None:
    return db.session.scalar(
        select(Invitation)
        .join(Invitation.user)
        .where(
            Invitation.secret_digest == _digest(secret), Invitation.expires_at > now(), User.active
        )
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
