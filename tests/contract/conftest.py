"""A clinic of its own for each test, on the one running system."""

from __future__ import annotations

import pytest

from tests.support.running_system import Clinic, RunningSystem


@pytest.fixture
def clinic(system: RunningSystem) -> Clinic:
    """Seven active patients, two archived, one merged, one deleted."""
    return system.clinic()


@pytest.fixture
def other(system: RunningSystem) -> Clinic:
    """Another clinic, whose people have no business here."""
    return system.clinic(active=1)
