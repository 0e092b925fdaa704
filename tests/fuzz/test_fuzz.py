"""The running system keeps to its published description, whoever asks and whatever they send.

This is the quick set; `script/fuzz` asks for longer.
"""

from __future__ import annotations

from collections import Counter

from tests.fuzz.run import fuzz
from tests.support.running_system import RunningSystem

SEED = 20_261_123


def test_no_role_finds_an_answer_that_was_not_described(system: RunningSystem) -> None:
    answers: Counter[int] = Counter()
    for outcome in fuzz(system, examples=6, seed=SEED, covered=["admin"]):
        assert outcome.failures == 0, outcome.log
        assert (outcome.operations, outcome.cases > 100) == (22, True), outcome
        assert not [status for status in outcome.answers if status == 0 or status >= 500]
        answers += outcome.answers
    # All of these were really reached, so the limits did not hide the rest.
    assert {200, 308, 400, 401, 403, 404, 405, 409, 415} <= set(answers), answers
    assert answers[429] < sum(answers.values()) / 10
