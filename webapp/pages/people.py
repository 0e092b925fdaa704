"""The people who may sign in: inviting them by a link, their roles, and letting them in no more."""

from __future__ import annotations

from collections.abc import Callable

from flask import render_template, request
from flask.typing import ResponseReturnValue

from webapp.auth.access import GRANTS, Action
from webapp.auth.guards import fresh, id_of, organization_for, person_for, require
from webapp.auth.sessions import current_actor
from webapp.errors import AddressTaken, InsufficientPermissions, RateLimited, ValidationError
from webapp.limits import per_person
from webapp.models import Role, User
from webapp.pages import parameters
from webapp.pages.blueprints import signed_in
from webapp.pages.redirects import lead_to
from webapp.pages.refused import refusal
from webapp.services import invitations, organizations, passwords, roles, second_factor
from webapp.services import people as people_service

_NO_CLINIC = "0"  # as the form says it


@signed_in.get("/people")
@fresh
def people() -> str:
    require(current_actor(), Action.MANAGE_PEOPLE)
    return _page()


@signed_in.post("/people")
@fresh
def invite() -> ResponseReturnValue:
    """Shows the link in this one answer; it can be read nowhere afterwards."""
    actor = current_actor()
    require(actor, Action.MANAGE_PEOPLE)
    try:
        per_person.check(per_person.REFUSED_INVITATIONS, actor)
        user, secret = _invited(actor)
    except (RateLimited, ValidationError) as error:
        field = error.parameter if isinstance(error, ValidationError) else "email"
        return refusal(_page(errors={field: error.message}), error)
    return _page(person=user, link=_link(secret))


@signed_in.post("/people/<user_id>/link")
@fresh
def new_link(user_id: str) -> str:
    person = _somebody_else(user_id)
    return _with_new_link(person)


@signed_in.get("/people/<user_id>/role")
@fresh
def role(user_id: str) -> str:
    return _role_page(_somebody_else(user_id))


@signed_in.post("/people/<user_id>/role")
@fresh
def change_role(user_id: str) -> ResponseReturnValue:
    person = _somebody_else(user_id)
    try:
        role, organization_id = _place()
        roles.change(person, role, organization_id, actor=current_actor())
    except ValidationError as error:
        return _role_page(person, {error.parameter: error.message}), 422
    if person.invited and person.active:
        return _with_new_link(person)
    then = _before_signing_in(person) or "has to sign in again"
    return lead_to("pages.people", f"{person.email} has the role {role} now, and {then}.")


@signed_in.post("/people/<user_id>/sign-out")
@fresh
def sign_out_person(user_id: str) -> ResponseReturnValue:
    return _change(
        user_id,
        people_service.end_sessions,
        "is signed out everywhere, and their API tokens have ended",
    )


@signed_in.post("/people/<user_id>/deactivate")
@fresh
def deactivate(user_id: str) -> ResponseReturnValue:
    return _change(user_id, people_service.deactivate, "cannot sign in any more")


@signed_in.post("/people/<user_id>/activate")
@fresh
def activate(user_id: str) -> ResponseReturnValue:
    person = _somebody_else(user_id)
    if not people_service.activate(person, actor=current_actor()):
        # A page from before: another link would end the one that they were just given.
        return lead_to("pages.people", f"{person.email} is active already. Nothing was changed.")
    if person.invited:
        return _with_new_link(person)
    how = "with a new link" if person.is_closed else "again"
    return lead_to("pages.people", f"{person.email} can sign in {how}.")


@signed_in.post("/people/<user_id>/reset-second-factor")
@fresh
def reset_second_factor(user_id: str) -> ResponseReturnValue:
    require(current_actor(), Action.RESET_SECOND_FACTOR)
    return _change(
        user_id,
        second_factor.reset,
        "signs in with the password alone now",
        of_kept_out="has no second factor now",
    )


def _change(
    user_id: str, change: Callable[..., None], told: str, *, of_kept_out: str | None = None
) -> ResponseReturnValue:
    person = _somebody_else(user_id)
    change(person, actor=current_actor())
    before = _before_signing_in(person) if of_kept_out else None
    then = f"{of_kept_out}, and {before}" if before else told
    return lead_to("pages.people", f"{person.email} {then}.")


def _before_signing_in(person: User) -> str | None:
    """What has to come before somebody can sign in; None if they can."""
    if person.active:
        return "needs a new link: the account is closed" if person.is_closed else None
    by_link = person.invited or person.is_closed
    return "needs a new link once activated" if by_link else "can sign in once activated"


def _somebody_else(user_id: str) -> User:
    actor = current_actor()
    person = person_for(actor, id_of(user_id))
    if person.id == actor.id:
        raise ValidationError("Ask somebody else to change what you may do.", parameter="person")
    return person


def _place() -> tuple[Role, int | None]:
    """The role and clinic that the form names, if the person who asks may give them."""
    actor = current_actor()
    role = parameters.choice(request.form, "role", Role)
    if role is None:
        raise ValidationError("Choose what this person may do.", parameter="role")
    if role not in GRANTS[Role(actor.role)]:
        raise InsufficientPermissions(Action.MANAGE_PEOPLE.name)
    sent = request.form.get("organization")
    chosen = None if sent == _NO_CLINIC else sent
    if role is Role.ADMIN:
        if chosen:  # to leave it out would give somebody all clinics who was meant for one
            raise ValidationError(
                "An admin belongs to no clinic and sees all: choose “No clinic (admins)”.",
                parameter="organization",
            )
        return role, None
    named = chosen or str(actor.organization_id or "")
    if not named:
        raise ValidationError(
            "Choose the clinic that this person belongs to.", parameter="organization"
        )
    return role, organization_for(actor, named, Action.MANAGE_PEOPLE).id


def _invited(actor: User) -> tuple[User, str]:
    """Whom the form names, and the secret of their link. Raises ValidationError, and RateLimited
    for too many addresses that somebody has already."""
    role, organization_id = _place()
    email = request.form.get("email", "")
    try:
        return invitations.invite(email, role=role, organization_id=organization_id, actor=actor)
    except AddressTaken:
        per_person.count(per_person.REFUSED_INVITATIONS, actor)
        raise


def _with_new_link(person: User) -> str:
    return _page(person=person, link=_link(invitations.renew(person, actor=current_actor())))


def _link(secret: str) -> str:
    base = invitations.base_url(seen_at=request.url_root)
    return invitations.address(secret, base=base)


def _role_page(person: User, errors: dict[str, str] | None = None) -> str:
    actor = current_actor()
    return render_template(
        "people/role.html",
        person=person,
        errors=errors or {},
        roles=GRANTS[Role(actor.role)],
        clinics=organizations.names_for(actor),
    )


def _page(
    *, person: User | None = None, link: str | None = None, errors: dict[str, str] | None = None
) -> str:
    actor = current_actor()
    return render_template(
        "people/index.html",
        people=people_service.visible_to(actor),
        person=person,
        link=link,
        errors=errors or {},
        roles=GRANTS[Role(actor.role)],
        clinics=organizations.names_for(actor),
        own_id=actor.id,
        least_alone=passwords.MIN_LENGTH,
    )
