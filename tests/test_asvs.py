"""`docs/asvs.csv`: every requirement of OWASP ASVS 5.0, levels 1 and 2, with what shows that it is
met, or with the word `open`."""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "asvs.csv"
SECURITY = ROOT / "docs" / "security.md"

# The level of each requirement, in the order of a section: "1.1" has two, of level 2 both.
LEVELS = {
    "1.1": "22",
    "1.2": "1111122223",
    "1.3": "112222222223",
    "1.4": "222",
    "1.5": "123",
    "2.1": "122",
    "2.2": "112",
    "2.3": "12223",
    "2.4": "23",
    "3.1": "3",
    "3.2": "113",
    "3.3": "12223",
    "3.4": "11222233",
    "3.5": "11122333",
    "3.6": "3",
    "3.7": "22333",
    "4.1": "12233",
    "4.2": "23333",
    "4.3": "22",
    "4.4": "1222",
    "5.1": "2",
    "5.2": "112333",
    "5.3": "113",
    "5.4": "222",
    "6.1": "122",
    "6.2": "111111112222",
    "6.3": "11223333",
    "6.4": "112233",
    "6.5": "22222333",
    "6.6": "2223",
    "6.7": "33",
    "6.8": "2222",
    "7.1": "222",
    "7.2": "1111",
    "7.3": "22",
    "7.4": "11222",
    "7.5": "223",
    "7.6": "22",
    "8.1": "1233",
    "8.2": "1123",
    "8.3": "133",
    "8.4": "23",
    "9.1": "111",
    "9.2": "1222",
    "10.1": "22",
    "10.2": "223",
    "10.3": "22223",
    "10.4": "1111122222233333",
    "10.5": "22222",
    "10.6": "22",
    "10.7": "222",
    "11.1": "2233",
    "11.2": "22233",
    "11.3": "11233",
    "11.4": "1222",
    "11.5": "23",
    "11.6": "23",
    "11.7": "33",
    "12.1": "12233",
    "12.2": "11",
    "12.3": "22223",
    "13.1": "2333",
    "13.2": "222223",
    "13.3": "2233",
    "13.4": "1222233",
    "14.1": "22",
    "14.2": "12223333",
    "14.3": "122",
    "15.1": "12233",
    "15.2": "12233",
    "15.3": "1222222",
    "15.4": "3333",
    "16.1": "2",
    "16.2": "22222",
    "16.3": "2222",
    "16.4": "222",
    "16.5": "2223",
    "17.1": "23",
    "17.2": "22223333",
    "17.3": "22",
}
# Of level 3 we aim at these.
BEYOND = {
    *("1.2.10", "3.4.7", "3.4.8", "3.5.8", "3.6.1", "4.1.4", "6.3.7", "6.3.8", "6.4.6", "8.3.2"),
    *("13.1.3", "13.4.6", "14.2.6", "14.2.7", "15.4.2", "16.5.4"),
}
# `operator`: the duty of whoever runs it, written down in docs/security.md.
STATES = ("held", "partly", "open", "operator")


def level_of() -> dict[str, int]:
    """The level of every requirement there is."""
    return {
        f"{section}.{number}": int(level)
        for section, levels in LEVELS.items()
        for number, level in enumerate(levels, start=1)
    }


def rows() -> list[dict[str, str]]:
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def names_in(path: Path) -> set[str]:
    module = ast.parse(path.read_text())
    return {node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}


def exists(evidence: str) -> bool:
    """Whether a file, or a test in a file as pytest names it, is there."""
    path, _, test = evidence.partition("::")
    if not (ROOT / path).is_file():
        return False
    return not test or (test.startswith("test_") and test in names_in(ROOT / path))


def test_the_list_of_levels_is_whole() -> None:
    assert Counter(level_of().values()) == {1: 70, 2: 183, 3: 92}


def test_every_requirement_is_there_once_and_in_order() -> None:
    wanted = [name for name, level in level_of().items() if level < 3 or name in BEYOND]
    assert [row["id"] for row in rows()] == wanted
    assert {row["id"]: int(row["level"]) for row in rows()}.items() <= level_of().items()


def test_every_row_says_how_or_why_not() -> None:
    for row in rows():
        assert row["how"].endswith("."), row
        if row["applies"] == "no":
            assert (row["state"], row["evidence"]) == ("", ""), row
        else:
            assert row["applies"] == "yes", row
            assert row["state"] in STATES, row
            assert bool(row["evidence"]) or row["state"] == "open", row
            duty = row["evidence"].split()[:1] == ["docs/security.md"]
            assert duty or row["state"] != "operator", row


def test_whatever_a_row_names_is_there() -> None:
    assert [
        (row["id"], name) for row in rows() for name in row["evidence"].split() if not exists(name)
    ] == []


def test_docs_security_tells_how_many_there_are_of_each() -> None:
    states = Counter(row["state"] or "not applicable" for row in rows())
    told = dict(re.findall(r"^\| (\w[\w ]*) \| (\d+) \|$", SECURITY.read_text(), re.M))
    assert told == {state: str(count) for state, count in states.items()}


def numbered() -> list[tuple[str, str, str]]:
    """The numbered requirements of docs/security.md: number, state, what shows it in their row
    and, where that would be long, in the list below the table."""
    text = SECURITY.read_text()
    rows = re.findall(r"^\| (S\d+) \| [^|]+ \| (\w+) \| ([^|]*) \|$", text, re.M)
    lists = dict(re.findall(r"^### (S\d+): .+\n\n((?:- .+\n)+)", text, re.M))
    return [(number, state, shown + lists.get(number, "")) for number, state, shown in rows]


def test_every_numbered_requirement_is_there_with_its_state() -> None:
    assert [number for number, _, _ in numbered()] == [f"S{number}" for number in range(1, 54)]
    assert {state for _, state, _ in numbered()} <= {*STATES, "no"}


@pytest.mark.parametrize(("number", "state", "shown"), numbered())
def test_what_shows_it_is_there(number: str, state: str, shown: str) -> None:
    named = re.findall(r"`([^`]+)`", shown)
    assert named or state in ("open", "no")
    for name in named:
        assert (ROOT / name).exists() or exists(f"tests/{name}"), name
