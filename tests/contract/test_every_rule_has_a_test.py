"""The rules of the documentation, and the tests that show them on the running system."""

from __future__ import annotations

import re
from pathlib import Path

from config import ROOT

RULES = (ROOT / "templates" / "api" / "_rules.html").read_text()


def test_every_rule_has_a_test_that_names_it() -> None:
    written = {int(number) for number in re.findall(r'id="rule-(\d+)"', RULES)}
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    shown = {int(number) for number in re.findall(r"@pytest\.mark\.rule\((\d+)\)", tests)}
    assert shown == written
