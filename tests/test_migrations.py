"""The migrations: one line of them, and they say what the models say."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect

from webapp.extensions import db

on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


def test_there_is_one_head() -> None:
    migrations = Path(__file__).resolve().parent.parent / "migrations"
    assert len(ScriptDirectory(str(migrations)).get_heads()) == 1


@on_both
def test_the_migrations_make_what_the_models_describe(app: Flask) -> None:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, db.metadata) == []


@on_both
def test_the_way_down_and_up_again(app: Flask) -> None:
    db.session.remove()
    downgrade(revision="base")
    assert set(inspect(db.engine).get_table_names()) <= {"alembic_version"}
    upgrade()
    assert "patients" in inspect(db.engine).get_table_names()
