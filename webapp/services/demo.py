"""The first run without a Cliniko: one clinic at the simulator, one admin, one password."""

from __future__ import annotations

import secrets

from flask import current_app
from sqlalchemy import func, inspect, select

from config import DEMO_CLINIKO_KEY
from webapp.errors import AppError
from webapp.extensions import db
from webapp.models import Organization, Role, User
from webapp.services import callers, organizations, people

ADMIN = "admin@surfrehab.example"
CLINIC = "Surf Rehab"


def seed() -> str:
    """Make the demo's clinic and admin if nobody is there yet; the words to print.

    Raises AppError outside a demo, for a known key must not stand beside real clinics.
    """
    if not current_app.config["DEMO"]:
        raise AppError("This is no demo: a Cliniko is configured, or DEMO=0 is set.")
    if db.session.scalar(select(func.count()).select_from(User)):
        return (
            f"Sign in as {ADMIN}. The password was shown at the first start; forgotten? "
            f".venv/bin/flask --app webapp set-password {ADMIN}"
        )
    password = "-".join(secrets.token_hex(3) for _ in range(4))
    callers.current.set(callers.Caller(callers.Way.COMMAND))
    if not db.session.scalar(select(func.count()).select_from(Organization)):
        organizations.add(CLINIC, DEMO_CLINIKO_KEY)  # a start that was broken off may have done so
    people.create(ADMIN, password, role=Role.ADMIN)
    return f"Sign in as {ADMIN} with the password {password} (shown only this once)."


def stay_out() -> None:
    """Raises AppError for the demo's database in production: its admin's password was shown on a
    terminal, and its keys and its audit trail are of keys that production does not have. Asked
    before the tables are brought up to date."""
    if current_app.config["ENV"] != "production" or not inspect(db.engine).has_table("users"):
        return
    known = select(User.id).where(User.email == ADMIN, User.active)
    if db.session.scalar(known) is not None:
        raise AppError(
            f"This database holds the demo with its admin {ADMIN}. Begin with an empty one: choose "
            "another INSTANCE_DIR, or another DATABASE_URL."
        )
