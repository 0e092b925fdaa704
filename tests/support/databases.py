"""Which databases a test runs on; `database` in `tests/conftest.py` says which one otherwise."""

from __future__ import annotations

import pytest

on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"])
