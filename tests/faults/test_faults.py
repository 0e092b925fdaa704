"""The quick set of faults, done to running systems; `script/faults` makes all of them.

A line of the catalogue that breaks a promise, or leaves no record, fails here under its number.
Other tests run beside it: each limit of time is twice as long here; that of stuck syncs is not.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from config import ROOT
from tests.faults.catalogue import FAULTS, cases
from tests.faults.injection import Record
from tests.faults.report import problems
from tests.faults.run import run
from tests.faults.stages import ALL_STAGES

QUICK = list(enumerate(cases(quick=True)))
NUMBERS = {"C": 22, "D": 11, "B": 10, "Q": 8, "K": 12, "X": 11}


@pytest.fixture(scope="module")
def records(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> list[Record]:
    """The quick set, done in four systems at once."""
    request.getfixturevalue("postgres")  # skipped where there is none
    return run(QUICK, tmp_path_factory.mktemp("faults"), quick=True, lanes=2, slack=2.0)


@pytest.mark.parametrize("number", sorted({case.fault.id for _, case in QUICK}))
def test_no_promise_is_broken_by(number: str, records: list[Record]) -> None:
    expected = sum(case.fault.id == number for _, case in QUICK)
    assert problems([each for each in records if each.fault == number], expected=expected) == []


def test_a_clinic_beside_them_does_not_notice(records: list[Record]) -> None:
    beside = [each for each in records if each.fault == "I8"]
    assert len(beside) == 4
    assert problems(beside, expected=0) == []


def test_every_fault_of_the_list_is_in_the_catalogue() -> None:
    listed = {f"{letter}{n}" for letter, last in NUMBERS.items() for n in range(1, last + 1)}
    assert {fault.id for fault in FAULTS} == listed


def test_all_and_quick_have_their_sizes() -> None:
    assert len(list(cases(quick=False))) >= 1200
    assert 140 <= len(QUICK) <= 180
    both = Counter(case.database for _, case in QUICK)
    assert min(both.values()) > 60


def test_processes_are_killed_at_every_stage() -> None:
    told = " ".join(f"{fault.name}." for fault in FAULTS)
    for stage in ALL_STAGES:
        word = "whoever hands over" if stage == "handing over" else f": {stage}."
        assert word in told, stage


@pytest.mark.parametrize("folder", ["webapp", "simulator", "script"])
def test_the_product_knows_nothing_of_stages(folder: str) -> None:
    files = [*Path(ROOT, folder).rglob("*.py"), ROOT / "worker.py", ROOT / "gunicorn.conf.py"]
    texts = [file.read_text() for file in files]
    assert not any("stages" in text or "STAGES" in text for text in texts)
    assert not any("tests.faults" in text for text in texts)
