"""What somebody may do, and where."""

from __future__ import annotations

from typing import Any

from webapp.errors import ValidationError
from webapp.models import Role, User
from webapp.services import passwords, people, second_factor
from webapp.services.audit_events import Event


def change(
    user: User, role: Role, organization_id: int | None, *, actor: User | None = None
) -> None:
    """Change a person's role or clinic. Their sessions, tokens and links end.

    Raises ValidationError for a role without its clinic, for the one they have already and for the
    last admin, OrganizationNotFound, and NotFound if the person was made somebody else's meanwhile.
    """
    _check_is_another(user, role, organization_id)  # now too, for a hash is slow
    nobodys = passwords.nobodys()
    with people.changing(user):
        _check_is_another(user, role, organization_id)
        if role is not Role.ADMIN:
            people.keep_an_admin(user)
        told = {"role": str(role), "organization": organization_id}
        give(user, (role, organization_id), nobodys, Event.ROLE_CHANGED, actor=actor, **told)


def give(
    user: User,
    place: tuple[Role, int | None],
    nobodys: str,
    event: Event,
    *,
    actor: User | None,
    **details: Any,
) -> None:
    """Give somebody a role in a clinic, and record it, inside a transaction of `people.changing`.

    Somebody who leaves a clinic loses password and second factor, and chooses a password by a new
    link: the manager who made their first link may have used it, and would reach what they reach.
    `nobodys`: a hash that no password matches, made before the transaction.
    """
    left = user.organization_id
    user.role, user.organization_id = place
    begins_anew = left is not None and left != user.organization_id
    people.end_everything_of(user)
    if begins_anew:
        user.password_hash = nobodys
        second_factor.forget(user)
    people.record(event, user, actor=actor, left=(left,), begins_anew=begins_anew, **details)
    if begins_anew:  # not before: whoever was only invited gets no mail
        user.invited = True


def _check_is_another(user: User, role: Role, organization_id: int | None) -> None:
    people.check_place(role, organization_id)
    if (user.role, user.organization_id) == (role, organization_id):
        raise ValidationError(f"{user.email} has this role already.", parameter="role")
