"""The password once more, before what could do harm."""

from __future__ import annotations

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from webapp.auth import sessions
from webapp.auth.sessions import current_actor
from webapp.errors import AccountClosed, RateLimited, ValidationError
from webapp.limits import sign_in as attempts
from webapp.models import User
from webapp.pages.blueprints import signed_in
from webapp.pages.refused import refusal
from webapp.pages.sign_in import safe_next


@signed_in.get("/confirm")
def confirm() -> ResponseReturnValue:
    back, refused = request.args.get("next", ""), "refused" in request.args
    return redirect(safe_next(back), 303) if sessions.is_fresh() else form(back, refused=refused)


@signed_in.post("/confirm")
def confirm_password() -> ResponseReturnValue:
    """Leads back to the page that asked; what was sent there is not sent again."""
    back = request.form.get("next", "")
    try:
        check_password(current_actor(), request.form.get("current", ""))
    except (RateLimited, ValidationError) as error:
        return refusal(form(back, problem=error.message), error)
    sessions.prove()
    return redirect(safe_next(back), 303)


def prove(password: str) -> None:
    """Take the password where it was asked for, unless it was entered within the last half hour.
    Raises what `check_password` does."""
    if sessions.is_fresh():
        return
    if not password:
        raise ValidationError("Enter your password first.", parameter="current")
    check_password(current_actor(), password)
    sessions.prove()


def form(back: str, *, problem: str | None = None, refused: bool = False) -> str:
    """The page that asks for the password; `refused` tells that it was needed and nothing done."""
    return render_template("confirm/form.html", back=back, problem=problem, refused=refused)


def check_password(user: User, password: str) -> None:
    """Whoever finds a computer unlocked must not take the account over; guesses are counted as
    those at the sign-in are. Raises RateLimited, AccountClosed, and ValidationError for a wrong
    password."""
    try:
        right = attempts.by_password(user.email, password, again=True) is not None
    except AccountClosed:
        raise
    except ValidationError:  # too long to be anybody's
        right = False
    if not right:
        raise ValidationError("This is not your password.", parameter="current")
