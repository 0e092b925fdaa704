from __future__ import annotations

import re

import pytest

from config import ROOT

FILES = ("requirements.txt", "requirements-dev.txt")


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", "")
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    found = lines(name)
    assert found
    for line in found:
        assert re.match(r"[a-z0-9.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


@pytest.mark.parametrize("name", FILES)
def test_no_requirement_names_a_place(name: str) -> None:
    assert not re.search(r"://|--(index|extra|find|trusted)| @ |/[a-z]+/", "\n".join(lines(name)))


def test_tests_run_with_what_runs_in_production() -> None:
    assert set(lines("requirements.txt")) <= set(lines("requirements-dev.txt"))


@pytest.mark.parametrize("name", FILES)
def test_whatever_was_chosen_is_pinned(name: str) -> None:
    chosen = (ROOT / name.replace(".txt", ".in")).read_text(encoding="utf-8")
    names = re.findall(r"^([a-z][a-z0-9-]*)", chosen, flags=re.MULTILINE)
    pinned = {line.partition("==")[0] for line in lines(name)}
    assert names
    assert set(names) <= pinned
