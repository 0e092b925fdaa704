"""One small clinic at the simulated Cliniko, and a caller."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator import ClinikoAccount, Simulator
from tests.simulator.asking import KEY, Ask


@pytest.fixture
def account() -> ClinikoAccount:
    """Surf Rehab, with 120 patients to be listed as active."""
    account = ClinikoAccount.generate(active=120, archived=7, merged=2, deleted=3)
    account.add_key(KEY)
    return account


@pytest.fixture
def cliniko(account: ClinikoAccount) -> Iterator[Simulator]:
    with Simulator(account) as cliniko:
        yield cliniko


@pytest.fixture
def ask(cliniko: Simulator) -> Iterator[Ask]:
    ask = Ask(cliniko)
    yield ask
    ask.session.close()
