"""The second factor: a code from a phone (TOTP, RFC 6238), or a recovery code without the phone.

A code holds for half a minute, and for the half minutes before and after it, for clocks differ. It
is taken once, as a recovery code is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from flask import current_app
from pyotp import TOTP, random_base32
from sqlalchemy import delete, func, select

import config
from webapp.clock import now
from webapp.errors import NotFound, ValidationError
from webapp.extensions import db
from webapp.models import RecoveryCode, Role, SecondFactor, User
from webapp.services import failed_sign_ins, passwords, people
from webapp.services.audit_events import Event
from webapp.services.sealing import Purpose, seal, unseal

ISSUER = "Patient Sync"
STEP_SECONDS = 30
STEPS_OFF = 1
LIFETIME = timedelta(minutes=15)  # of a secret that was shown and not confirmed
RECOVERY_CODES = 10
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none looks like another: 118 bits in 24


class CodeKind(StrEnum):
    """Which code somebody has shown."""

    CODE = "code"
    RECOVERY_CODE = "recovery_code"


@dataclass(frozen=True)
class Pending:
    """A secret that a phone is to learn."""

    secret: str
    uri: str  # for the QR code
    since: datetime


def is_missing(role: str, since: datetime | None) -> bool:
    """Whether somebody in this role, who has a second factor since then or has none, must set one
    up before anything else. Viewers may choose, unless the settings say everybody."""
    setting = config.SecondFactor(current_app.config["SECOND_FACTOR"])
    if since is not None or setting is config.SecondFactor.OPTIONAL:
        return False
    return setting is config.SecondFactor.EVERYBODY or role != Role.VIEWER


def begin(user: User) -> datetime:
    """Make a secret, which replaces one that was never confirmed; says when it was made. Raises
    ValidationError if a second factor is in force."""
    moment = now()
    with people.changing(user):
        if user.second_factor_since is not None:
            raise ValidationError("You have a second factor already.", parameter="code")
        forget(user)
        sealed = seal(Purpose.TOTP_SECRET, user.id, random_base32())
        db.session.add(SecondFactor(user_id=user.id, sealed_secret=sealed, started_at=moment))
    return moment


def pending(user: User) -> Pending | None:
    """What the phone is to learn, until it is confirmed or a quarter of an hour has passed."""
    row = _row(user)
    if row is None or user.second_factor_since or row.started_at + LIFETIME < now():
        return None
    secret = _secret(row)
    uri = TOTP(secret).provisioning_uri(name=user.email, issuer_name=ISSUER)
    return Pending(secret, uri, row.started_at)


def confirm(user: User, code: str) -> list[str]:
    """Put the second factor in force that was begun, and give the recovery codes, which are stored
    nowhere. All that the person had opened ends: it was opened with the password alone.

    Raises ValidationError for a code that is wrong, NotFound if nothing was begun or it has lapsed.
    """
    with people.changing(user):
        row = _row(user)
        if row is None or pending(user) is None:
            raise NotFound()
        if not _take(row, code):
            raise ValidationError(
                "This code is wrong. Is the time on your phone right?", parameter="code"
            )
        user.second_factor_since = now()
        codes = _make_recovery_codes(user)
        people.end_everything_of(user)
        people.record(Event.SECOND_FACTOR_SET, user, actor=user)
        return codes


def accept(user: User, code: str) -> CodeKind | None:
    """Which kind of code this is; None if it is wrong or was used before, which counts as a failed
    try to sign in, or if the account is closed: then it is not looked at."""
    epoch, kind = user.session_epoch, None
    with suppress(NotFound), people.changing(user):  # raised for another role or clinic meanwhile
        kind = None if user.is_closed else _kind_of(user, code)
        if user.is_closed:
            failed_sign_ins.note_closed(user, given="code")
        elif kind is None:
            failed_sign_ins.count(user, Event.CODE_REFUSED)
        else:
            user.failures_in_a_row = 0
        if kind is CodeKind.RECOVERY_CODE:
            people.record(Event.RECOVERY_CODE_USED, user, actor=user)
    # Unless all they had was ended meanwhile, the step before this one too.
    return kind if user.session_epoch == epoch else None


def new_recovery_codes(user: User) -> list[str]:
    """Ten other recovery codes; the earlier ones end. Raises NotFound without a second factor."""
    with people.changing(user):
        if user.second_factor_since is None:
            raise NotFound()
        codes = _make_recovery_codes(user)
        people.record(Event.RECOVERY_CODES_MADE, user, actor=user)
        return codes


def recovery_codes_left(user: User) -> int:
    """How many can still be used."""
    query = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user.id)
    return db.session.scalar(query) or 0


def remove(user: User, password: str) -> None:
    """Ask a person for no code any more, as they wish and have shown by their password; all that
    they had opened ends.

    Raises ValidationError for a password that is too short to stand alone, NotFound without a
    second factor.
    """
    if passwords.is_too_short_alone(password):
        raise ValidationError(
            f"Choose a password of at least {passwords.MIN_LENGTH} characters first: without a "
            "second factor yours is too short.",
            parameter="current",
        )
    with people.changing(user):
        _end(user)
        people.record(Event.SECOND_FACTOR_REMOVED, user, actor=user)


def reset(user: User, *, actor: User | None, reason: str | None = None) -> None:
    """Ask somebody for no code any more who has lost their phone; all that they had opened ends.

    Raises NotFound if they have no second factor or were made somebody else's meanwhile.
    """
    with people.changing(user):
        _end(user)
        people.record(Event.SECOND_FACTOR_RESET, user, actor=actor, reason=reason)


def _end(user: User) -> None:
    if user.second_factor_since is None:
        raise NotFound("This person has no second factor.")
    forget(user)
    people.end_everything_of(user)


def forget(user: User) -> None:
    """Remove a person's second factor and recovery codes, inside the caller's transaction."""
    user.second_factor_since = None
    for table in (SecondFactor, RecoveryCode):
        db.session.execute(delete(table).where(table.user_id == user.id))


def _row(user: User) -> SecondFactor | None:
    return db.session.scalar(select(SecondFactor).where(SecondFactor.user_id == user.id))


def _secret(row: SecondFactor) -> str:
    return unseal(Purpose.TOTP_SECRET, row.user_id, row.sealed_secret)


def _kind_of(user: User, code: str) -> CodeKind | None:
    row = _row(user)
    if row is not None and _take(row, code):
        return CodeKind.CODE
    digest = _digest(user, code)
    theirs = (RecoveryCode.user_id == user.id) & (RecoveryCode.code_digest == digest)
    used = db.session.execute(delete(RecoveryCode).where(theirs).returning(RecoveryCode.id))
    return CodeKind.RECOVERY_CODE if used.all() else None


def _take(row: SecondFactor, code: str) -> bool:
    """Whether this is a code of now that is newer than the last one taken; it is the last one
    then."""
    code = re.sub(r"\s", "", code)
    if not re.fullmatch("[0-9]{6}", code, re.ASCII):
        return False
    totp, step = TOTP(_secret(row)), int(now().timestamp()) // STEP_SECONDS
    for candidate in range(step - STEPS_OFF, step + STEPS_OFF + 1):
        right = hmac.compare_digest(totp.generate_otp(candidate), code)
        if right and candidate > row.last_step:
            row.last_step = candidate
            return True
    return False


def _make_recovery_codes(user: User) -> list[str]:
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    db.session.add_all(
        RecoveryCode(user_id=user.id, code_digest=_digest(user, code)) for code in codes
    )
    return codes


def _recovery_code() -> str:
    """Six groups of four letters, for people write them down. A quick hash is enough for what has
    112 bits or more."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(6))


def _digest(user: User, code: str) -> str:
    """Of a recovery code as it may be typed; whose it is goes in, so that no two rows are alike."""
    plain = re.sub("[^a-z0-9]", "", code.lower())
    return hashlib.sha256(f"{user.id}:{plain}".encode()).hexdigest()
