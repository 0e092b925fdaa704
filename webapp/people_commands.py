"""The commands that let people in, and those for emergencies."""

from __future__ import annotations

import click

from webapp.models import Role
from webapp.services import email_addresses, emergency, invitations, people
from webapp.terminal import ID, CannotBeDone, in_sentences, person, secret

_ROLE = click.option("--role", type=click.Choice([str(role) for role in Role]), required=True)
_CLINIC = click.option(
    "--organization", "organization_id", type=ID, help="For managers and viewers."
)
_REASON = click.option("--reason", required=True, help="Is recorded in the audit trail.")


@click.command("invite-user")
@click.argument("email")
@_ROLE
@_CLINIC
@in_sentences
def invite_user(email: str, role: str, organization_id: int | None) -> None:
    """Add a person, and print the link by which they choose their password."""
    base = invitations.base_url()
    _, link_secret = invitations.invite(email, role=Role(role), organization_id=organization_id)
    click.echo(invitations.address(link_secret, base=base))


@click.command("new-link")
@click.argument("email")
@in_sentences
def new_link(email: str) -> None:
    """Print a link by which a person chooses another password."""
    base = invitations.base_url()
    click.echo(invitations.address(invitations.renew(person(email)), base=base))


@click.command("create-user")
@click.argument("email")
@_ROLE
@_CLINIC
@in_sentences
def create_user(email: str, role: str, organization_id: int | None) -> None:
    """Add a person who may sign in. The password is asked for, or read from standard input."""
    password = secret("Password", confirm=True)
    people.create(email, password, role=Role(role), organization_id=organization_id)
    click.echo(f"{email_addresses.normalized(email)} can sign in as {role}.")


@click.command("set-password")
@click.argument("email")
@in_sentences
def set_password(email: str) -> None:
    """Give a person another password; it is asked for, or read from standard input."""
    user = person(email)
    people.set_password(user, secret("New password", confirm=True))
    click.echo(f"{user.email} has a new password; all their sessions and tokens have ended.")


@click.command("reset-second-factor")
@click.argument("email")
@_REASON
@in_sentences
def reset_second_factor(email: str, reason: str) -> None:
    """Ask a person who lost their phone for no code any more."""
    user = person(email)
    emergency.reset_second_factor(user, reason=reason)
    if user.is_closed:
        then = "has no second factor and needs a new link: the account is closed, see new-link"
    else:
        then = "signs in with the password alone"
    click.echo(f"{user.email} {then}; sessions and tokens have ended.")


@click.command("grant-admin")
@click.argument("email")
@_REASON
@in_sentences
def grant_admin(email: str, reason: str) -> None:
    """Make a person an admin in an emergency, also one who was deactivated."""
    user = people.anybody_by_email(email)
    if user is None:
        raise CannotBeDone(f"Nobody has the address {email}. See invite-user.")
    emergency.grant_admin(user, reason=reason)
    click.echo(f"{user.email} is an admin; sessions and tokens from before have ended.")
    if user.invited:
        click.echo("They choose a password by a link: see new-link.")
    elif user.is_closed:
        click.echo("They need a new link: the account is closed. See new-link.")


COMMANDS = (invite_user, new_link, create_user, set_password, reset_second_factor, grant_admin)
