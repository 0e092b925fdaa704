"""The commands: `flask --app webapp …`."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import click
from flask import Flask
from flask_migrate import Migrate

from webapp import people_commands
from webapp.errors import NotFound, OrganizationNotFound, ValidationError
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin, SyncStatus
from webapp.services import audit, audit_check, backup, organizations, retention, rotation, tokens
from webapp.services.audit_events import Event
from webapp.sync import history, verify
from webapp.sync.differences import Difference, differences
from webapp.sync.start import start_sync
from webapp.terminal import ID, CannotBeDone, in_sentences, person, secret

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
_ANCHOR = re.compile("([0-9]{1,18}):([0-9]{1,18}):([0-9a-f]{64})")


def init_app(app: Flask) -> None:
    """Register the commands, those of the migrations included."""
    Migrate(app, db, directory=str(MIGRATIONS), compare_type=True)
    ours = (create_organization, issue_token, sync, back_up, rotate_keys, clean_up, audit_trail)
    for command in (*people_commands.COMMANDS, *ours):
        app.cli.add_command(command)


@click.command("create-organization")
@click.argument("name")
@in_sentences
def create_organization(name: str) -> None:
    """Add a clinic. Its Cliniko API key is asked for, or read from standard input."""
    api_key = secret("Cliniko API key")
    if not api_key.strip():
        raise ValidationError("Enter the API key of the clinic.", parameter="api_key")
    organization = organizations.add(name, api_key)
    click.echo(f"{organization.name} is organization {organization.id}.")


@click.command("issue-token")
@click.argument("email")
@click.option("--name", help="What the page “API access” calls it.")
@click.option("--days", type=click.IntRange(1, 366), help="How long it lives; an hour without.")
@in_sentences
def issue_token(email: str, name: str | None, days: int | None) -> None:
    """Print a bearer token for the API that acts for a person."""
    lifetime = tokens.LIFETIME if days is None else timedelta(days=days)
    token, _ = tokens.issue(person(email), name=name, lifetime=lifetime)
    click.echo(token)


@click.command("sync")
@click.argument("organization_id", type=ID)
@click.option("--wait", is_flag=True, help="Show the progress until the sync has ended.")
@click.option("--changes", is_flag=True, help="Only what changed since the last sync.")
@click.option("--active-only", is_flag=True, help="Only the active patients; no others are read.")
@click.option("--verify", "compare", is_flag=True, help="Start none: compare with Cliniko.")
@in_sentences
def sync(organization_id: int, wait: bool, changes: bool, active_only: bool, compare: bool) -> None:
    """Start a sync of all patients of a clinic. With --wait, exit code 1 tells that it failed.

    With --changes it reads a few requests' worth, unless a full sync is due: then it is one.
    With --verify nothing is started, and no patient is written: all patients in Cliniko are listed
    again and compared with ours; exit code 1 tells that they are not the same.
    """
    organization = organizations.get(organization_id)
    if organization is None:
        raise OrganizationNotFound()
    if changes + active_only + compare > 1:
        raise click.UsageError("Choose one of --changes, --active-only and --verify.")
    if compare:
        verdict = verify.verify(organization)
        audit.note(Event.PATIENTS_COMPARED, organization_id=organization_id)
        _tell(verdict)
        return
    operation_type = OperationType.FULL_PATIENTS
    if changes:
        operation_type = OperationType.CHANGED_PATIENTS
    elif active_only:
        operation_type = OperationType.ACTIVE_PATIENTS
    log = start_sync(organization, operation_type, actor=None, origin=SyncOrigin.COMMAND)
    click.echo(f"Sync {log.id} of {organization.name} has started: {log.operation_type}.")
    if wait:
        _watch(organization, log.id)


@click.command("backup")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@in_sentences
def back_up(folder: Path) -> None:
    """Write all that the database holds into a file in FOLDER, also while syncs run, and remove
    those there that are older than two weeks."""
    if not folder.is_absolute():  # commands run in a folder that nobody has chosen
        raise click.BadParameter(f"{folder} does not begin with a /", param_hint="FOLDER")
    try:
        click.echo(f"{backup.make(folder)} was written.")
    except backup.BackupFailed as failed:
        raise CannotBeDone(str(failed)) from failed


@click.command("rotate-keys")
@in_sentences
def rotate_keys() -> None:
    """Encrypt every stored secret with the first of CREDENTIALS_KEYS. Exit code 1: some are
    encrypted with a key that is not there, and were left as they are."""
    done = rotation.rotate()
    click.echo(f"{done.sealed} encrypted anew with the newest key, {done.unreadable} unreadable.")
    if done.unreadable:
        raise SystemExit(1)


def _tell(verdict: verify.Verdict) -> None:
    for whose, tally in (("Cliniko", verdict.theirs), ("Our copy", verdict.ours)):
        states = ", ".join(f"{count} {state}" for state, count in sorted(tally.counts.items()))
        click.echo(f"{whose}: {states or 'no patients'}; digest {tally.digest:032x}")
    for words in ("missing", "extra", "different"):
        ids = getattr(verdict, words)
        click.echo(f"{words}: {len(ids)}{' ' * bool(ids)}{' '.join(ids)}")
    click.echo(f"not shown, though counted: {verdict.not_shown}")
    if not verdict.in_step:
        raise SystemExit(1)


def _watch(organization: Organization, sync_log_id: int) -> None:
    with click.progressbar(length=1000, label="Patients", show_pos=False) as bar:
        while True:
            db.session.rollback()
            try:
                log = history.get(organization, sync_log_id)
            except NotFound as error:
                raise CannotBeDone(f"Sync {sync_log_id} is gone.") from error
            bar.update(int(log.percent * 10) - bar.pos)
            if not log.is_running:
                break
            time.sleep(0.3)
    click.echo(_last_words(log))
    if log.status != SyncStatus.COMPLETED:
        raise SystemExit(1)


def _last_words(log: SyncLog) -> str:
    if log.status == SyncStatus.FAILED:
        return f"{log.error_code}: {log.error_message}"
    certificate = log.progress.get("certificate")
    done = "patients in step" if certificate and certificate["in_step"] else "patients read"
    words = [f"Completed in {log.duration_seconds:.1f} s: {log.records_success} {done}"]
    words += [_BUT[difference].format(n) for difference, n in differences(log).items()]
    if certificate and not certificate["in_step"] and len(words) == 1:
        words.append("what is stored is not what Cliniko has told: see sync --verify")
    return ", ".join(words) + "."


_BUT = {
    Difference.FAILED: "{} could not be stored",
    Difference.NOT_SHOWN: "{} more counted by Cliniko than shown",
    Difference.HELD: "{} seem to be gone: an admin decides",
    Difference.UNASKED: "{} could not be asked about yet",
    Difference.KEPT: "{} are gone from Cliniko and kept",
}


@click.command("clean-up")
@in_sentences
def clean_up() -> None:
    """Remove what is kept no longer, as workers do by themselves once a day."""
    removed = retention.clean_up()
    for name, count in removed.items():
        click.echo(f"{name}: {count}")
    click.echo(f"{removed.total()} removed.")


@click.group("audit")
def audit_trail() -> None:
    """The audit trail: who did and saw what."""


@audit_trail.command("verify")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="CHAIN:LENGTH:HASH",
    help="An end that was printed earlier; may be given several times.",
)
@click.option(
    "--anchors",
    "files",
    multiple=True,
    type=click.File(errors="replace"),
    metavar="FILE",
    help="A file with ends, as the sender's log; may be given several times.",
)
@in_sentences
def verify_audit(anchors: tuple[str, ...], files: tuple[TextIO, ...]) -> None:
    """Look for events that were edited, deleted, swapped, cut off, or signed with a key that was
    replaced more than a day before; exit code 1 if there are any.

    Prints where each chain ends. Keep those lines elsewhere and give all of them as anchors later.
    """
    noted = [_anchor(text) for text in anchors]
    noted += {_noted(match) for file in files for line in file for match in _ANCHOR.finditer(line)}
    if files and not noted:
        raise click.BadParameter("no file holds an anchor", param_hint="--anchors")
    findings = list(audit_check.verify(noted))
    for finding in findings:
        click.echo(f"Event {finding.number} of chain {finding.chain} {finding.what}.", err=True)
    for end in audit.ends():
        click.echo(audit_check.Anchor(*end))
    if findings:
        raise SystemExit(1)


def _anchor(text: str) -> audit_check.Anchor:
    found = _ANCHOR.fullmatch(text)
    if found is None:
        said = f"{text[:100]} is not CHAIN:LENGTH:HASH, as this command prints it"
        raise click.BadParameter(said, param_hint="--anchor")
    return _noted(found)


def _noted(found: re.Match[str]) -> audit_check.Anchor:
    return audit_check.Anchor(int(found[1]), int(found[2]), found[3])
