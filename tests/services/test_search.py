"""What patients are found by."""

from __future__ import annotations

import pytest

from webapp.services.search import (
    fold,
    forms,
    is_number,
    search_digits,
    search_text,
    sort_key,
    terms,
)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Müller", "muller"),
        ("O\u2019BRIEN", "o'brien"),
        ("Straße", "strasse"),
        ("Nguyễn", "nguyen"),
        ("Søren Łuk", "soren luk"),
        ("王小明", "王小明"),
        ("", ""),
    ],
)
def test_text_is_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_empty_parts_leave_no_trace_in_the_search_text() -> None:
    assert search_text("zoe", "", "d'arcy", "zoe@example.com") == "zoe d'arcy zoe@example.com"


def test_van_sorts_before_van_dyke() -> None:
    assert sort_key("van", "zoe") < sort_key("van dyke", "amy")


def test_the_nameless_come_last() -> None:
    assert sort_key("", "") > sort_key("小明", "王") > sort_key("zz", "zz") > sort_key("", "ann")


@pytest.mark.parametrize(
    ("number", "shard", "digits"),
    [
        ("+61 412 345 678", "au1", "61412345678 0412345678"),
        ("0412 345 678", "au2", "0412345678 61412345678"),
        ("(02) 9999-0000", "au1", "0299990000 61299990000"),
        ("+44 20 7946 0000", "uk1", "442079460000 02079460000"),
        ("+64 21 000 000", "au1", "6421000000"),
        ("0031 20 000 0000", "eu1", "31200000000"),
        ("+61 (0)412 345 678", "au1", "61412345678 0412345678"),
        ("(+61) (0)412 345 678", "au1", "61412345678 0412345678"),
        ("0011 61 412 345 678", "au1", "61412345678 0412345678"),
        ("0044(0)20 7946 0000", "au1", "442079460000"),
        ("(0)412 345 678", "au1", "0412345678 61412345678"),
        ("12", None, "12"),
        ("none", "au1", ""),
    ],
)
def test_a_phone_number_is_kept_in_both_forms(number: str, shard: str | None, digits: str) -> None:
    assert search_digits([number], shard) == digits


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("Noah  SMITH", ["noah", "smith"]),
        ("0412 345 678", ["0412345678"]),
        ("(02) 9999-0000 smith", ["0299990000", "smith"]),
        ("+61412", ["61412"]),
        ("100%", ["100", "%"]),
        ("   ", []),
        ("anna.85.12@example.com", ["anna.85.12@example.com"]),
        ("anna.lee-12-03@gmail.com 0412 345 678", ["anna.lee-12-03@gmail.com", "0412345678"]),
        ("info@24-7care.com", ["info@24-7care.com"]),
        ("+61 (0)412 345 678", ["61412345678"]),
        ("(+61) 412 345 678", ["61412345678"]),
        ("0011 61 412 345 678", ["61412345678"]),
        ("0031 20 000 0000", ["31200000000"]),
        ("0012", ["0012"]),
        ("(02)", ["02"]),
        ("Smith, John;", ["smith", "john"]),
        (" , ", [","]),
        (";", [";"]),
        (",; ;", [",;", ";"]),
        ("\u0301", ["\u0301"]),
        ("\u0301 smith,", ["smith"]),
    ],
)
def test_a_search_is_taken_apart(search: str, words: list[str]) -> None:
    assert terms(search) == words


@pytest.mark.parametrize(
    ("number", "shard", "found"),
    [
        ("0412345678", "au1", ["0412345678", "61412345678"]),
        ("61412345678", "au1", ["61412345678", "0412345678"]),
        ("14165550199", "ca1", ["14165550199", "4165550199"]),
        ("4165550199", "ca1", ["4165550199"]),  # which the longer one contains
        ("0412", "au1", ["0412"]),
        ("31200000000", "eu1", ["31200000000"]),
    ],
)
def test_a_whole_number_is_looked_for_in_both_forms(
    number: str, shard: str, found: list[str]
) -> None:
    assert forms(number, shard) == found


def test_four_digits_make_a_number() -> None:
    assert is_number("0412")
    assert not is_number("041")
    assert not is_number("٠٤١٢")
