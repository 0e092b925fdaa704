"""The audit trail in words for people."""

from __future__ import annotations

from typing import Any

from webapp.services.audit import Result
from webapp.services.audit_events import Event
from webapp.services.callers import Way

# What whoever stands in the row did; {person} is whom it was done to.
WORDS = {
    Event.SIGNED_IN: "signed in",
    Event.SIGN_IN_FAILED: "gave a wrong password for {person}",
    Event.SIGN_IN_LIMITED: "was not heard after too many tries to sign in",
    Event.CLOSED_REFUSED: "was not let in, for the account of {person} is closed",
    Event.SIGNED_OUT: "signed out",
    Event.PROOF_FAILED: "gave a wrong password when asked for it again",
    Event.SIGNED_OUT_EVERYWHERE: "signed {person} out everywhere",
    Event.ACCESS_DENIED: "was denied access",
    Event.FORGERY_REFUSED: "sent a form that was not of this session",
    Event.RATE_LIMITED: "asked too often",
    Event.PERSON_ADDED: "added {person}",
    Event.PERSON_INVITED: "invited {person}",
    Event.INVITATION_REFUSED: "could not invite {person}",
    Event.LINK_MADE: "made a link to choose a password for {person}",
    Event.LINK_USED: "chose a password by a link",
    Event.PASSWORD_CHANGED: "changed the password of {person}",
    Event.ROLE_CHANGED: "changed the role of {person}",
    Event.PERSON_DEACTIVATED: "deactivated {person}",
    Event.PERSON_ACTIVATED: "activated {person}",
    Event.MAILS_CHOSEN: "chose whether {person} gets mails about syncs",
    Event.ACCOUNT_LOCKED: "locked the account of {person} after too many wrong passwords",
    Event.ADMIN_GRANTED: "made {person} an admin in an emergency",
    Event.CODE_AWAITED: "gave the right password for {person}, without a code",
    Event.CODE_REFUSED: "gave a wrong code for {person}",
    Event.RECOVERY_CODES_MADE: "made recovery codes for {person}",
    Event.RECOVERY_CODE_USED: "used a recovery code of {person}",
    Event.SECOND_FACTOR_REMOVED: "removed the second factor of {person}",
    Event.SECOND_FACTOR_RESET: "reset the second factor of {person}",
    Event.SECOND_FACTOR_SET: "set up the second factor of {person}",
    Event.TOKEN_ISSUED: "made an API token for {person}",
    Event.TOKEN_REVOKED: "revoked an API token of {person}",
    Event.CLINIC_ADDED: "added the clinic",
    Event.CLINIC_RENAMED: "renamed the clinic",
    Event.CLINIC_DISABLED: "disabled the clinic",
    Event.CLINIC_ENABLED: "enabled the clinic",
    Event.CLINIC_DELETED: "deleted the clinic",
    Event.SCHEDULE_CHANGED: "changed the schedule",
    Event.KEY_SET: "set the Cliniko API key",
    Event.KEY_REFUSED: "entered a Cliniko API key that was refused",
    Event.CONNECTION_TESTED: "tested the connection to Cliniko",
    Event.SYNC_STARTED: "started a sync",
    Event.SYNC_CANCEL_ASKED: "asked a sync to stop",
    Event.SYNC_CANCELLED: "cancelled a sync",
    Event.SYNC_COMPLETED: "completed a sync",
    Event.SYNC_FAILED: "ended a sync that failed",
    Event.SYNC_HANDED_OVER: "handed a sync to another worker",
    Event.REMOVALS_CONFIRMED: "marked held patients deleted",
    Event.REMOVALS_DISMISSED: "kept held patients",
    Event.REMOVALS_LISTED: "looked at held patients",
    Event.PATIENTS_LISTED: "looked at the list of patients",
    Event.PATIENTS_SEARCHED: "searched the patients",
    Event.PATIENT_VIEWED: "looked at a patient",
    Event.PATIENTS_EXPORTED: "exported patients",
    Event.CHANGES_LISTED: "looked at what has changed about patients",
    Event.PATIENT_FORGOTTEN: "had a patient forgotten",
    Event.PATIENTS_COMPARED: "compared the patients with Cliniko",
    Event.AUDIT_EXPORTED: "exported the audit trail",
    Event.WEBHOOK_ADDED: "added a webhook",
    Event.WEBHOOK_CHANGED: "changed a webhook",
    Event.WEBHOOK_PAUSED: "paused a webhook",
    Event.WEBHOOK_STOPPED: "stopped a webhook",
    Event.WEBHOOK_RESUMED: "resumed a webhook",
    Event.WEBHOOK_DELETED: "deleted a webhook",
    Event.WEBHOOK_SECRET_ROTATED: "gave a webhook another secret",
    Event.WEBHOOK_TESTED: "sent a test message to a webhook",
    Event.WEBHOOK_RESENT: "sent a message of a webhook again",
    Event.KEYS_ROTATED: "rotated the encryption keys",
    Event.BACKED_UP: "made a backup, which holds all clinics",
    Event.CLEANED_UP: "deleted what is kept no longer",
    Event.FOREIGN_JOB_REFUSED: "refused a job that is none of ours",
}
RESULTS = {Result.OK: "Done", Result.REFUSED: "Refused", Result.FAILED: "Failed"}
WAYS: dict[str, str] = {
    Way.PAGE: "Dashboard",
    Way.API: "API",
    Way.COMMAND: "Command line",
    Way.WORKER: "Worker",
}
_BY_NAME = {str(event): words for event, words in WORDS.items()}
_NOBODY: dict[str, str] = {Way.COMMAND: "Command line", Way.WORKER: "Patient Sync"}


def choice_words(event: Event) -> str:
    """What is chosen in a list of all events."""
    words = WORDS[event].format(person="somebody")
    return words[0].upper() + words[1:]  # not `capitalize`, which would write "the cliniko api key"


def what(event: Any) -> str:
    """What was done; the event itself if it is of a release that called it something else."""
    words = _BY_NAME.get(event.event, str(event.event))
    return words.replace("{person}", event.details.get("person") or "nobody we know")


def who(event: Any) -> str:
    """Who did it."""
    return str(event.actor or _NOBODY.get(event.via, "Somebody who is not signed in"))


def details(event: Any) -> str:
    """The rest of what is known, as `count 12, shown 12`."""
    told = {name: value for name, value in event.details.items() if name != "person"}
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in told.items())


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return " ".join(map(str, value)) or "none"
        case _:
            return str(value)
