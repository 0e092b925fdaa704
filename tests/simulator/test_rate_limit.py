"""200 requests a minute for each Cliniko user."""

from __future__ import annotations

import time

import pytest

from simulator import ClinikoAccount, Simulator
from simulator.allowance import Allowance
from tests.simulator.asking import KEY, Ask


def test_the_request_after_the_last_one_is_told_when_to_come_back(ask: Ask) -> None:
    began = time.time()
    for _ in range(200):
        assert ask("/user").status_code == 200
    refused = ask("/user")
    assert refused.status_code == 429
    assert "Retry-After" not in refused.headers
    assert began + 60 <= int(refused.headers["X-RateLimit-Reset"]) <= time.time() + 61
    assert refused.json()["message"]


def test_all_keys_of_a_user_share_one_allowance(
    account: ClinikoAccount, cliniko: Simulator, ask: Ask
) -> None:
    account.add_key("second-au1", user=account.users[0])
    account.add_key("colleague-au1")
    cliniko.rate_limit = 2
    assert ask("/user").status_code == 200
    assert ask("/user", key="second-au1").status_code == 200
    assert ask("/user").status_code == 429
    assert ask("/user", key="second-au1").status_code == 429
    assert ask("/user", key="colleague-au1").status_code == 200


def test_it_can_say_retry_after_instead(cliniko: Simulator, ask: Ask) -> None:
    cliniko.rate_limit = 1
    cliniko.tells_retry_after = True
    ask("/user")
    refused = ask("/user")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert "X-RateLimit-Reset" not in refused.headers


def test_it_can_be_switched_off(cliniko: Simulator, ask: Ask) -> None:
    cliniko.rate_limit = 0
    assert {ask("/user").status_code for _ in range(250)} == {200}


def test_who_comes_back_when_told_is_let_in(account: ClinikoAccount) -> None:
    with Simulator(account, rate_limit=1, rate_window_s=1) as cliniko:
        ask = Ask(cliniko)
        assert ask("/user", key=KEY).status_code == 200
        refused = ask("/user")
        assert refused.status_code == 429
        reset = int(refused.headers["X-RateLimit-Reset"])
        while time.time() < reset:
            time.sleep(0.01)
        assert ask("/user").status_code == 200
        ask.session.close()


def test_the_window_moves() -> None:
    allowance = Allowance()

    def take(now: float) -> float | None:
        return allowance.take(3, window_s=60, now=now)

    assert [take(0), take(10), take(59)] == [None, None, None]
    assert take(59.5) == 60
    assert take(60) is None
    assert take(60.5) == 70
    assert [take(70), take(119)] == [None, None]


def test_refused_requests_cost_nothing() -> None:
    allowance = Allowance()
    assert allowance.take(1, window_s=60, now=0) is None
    assert [allowance.take(1, window_s=60, now=at) for at in (1, 30, 59)] == [60, 60, 60]
    assert allowance.take(1, window_s=60, now=60) is None


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_lowered_limit_counts_what_was_already_taken(limit: int) -> None:
    allowance = Allowance()
    for at in range(5):
        allowance.take(0, window_s=60, now=at)
    assert allowance.take(limit, window_s=60, now=5) == 60 + 5 - limit
