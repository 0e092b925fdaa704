"""What patients are found by."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webapp.services.phone_numbers import forms
from webapp.services.search import Term, fold, search_digits, search_text, sort_key, terms

ARABIC = "٠٤١٢٣٤٥٦٧٨"
PERSIAN = "۰۴۱۲ ۳۴۵ ۶۷۸"
DEVANAGARI = "+६१ ४१२ ३४५ ६७८"
FULL_WIDTH = "0412 345 678".translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})


def texts(search: str) -> list[str]:
    return [term.text for term in terms(search)]


def is_met(term: Term, names: str, numbers: str = "", shard: str | None = "au1") -> bool:
    """Whether a patient of these folded names and these digits has what is looked for."""
    if not term.ways:
        return term.text in names
    return any(form in numbers for form in forms(term.text, shard)) or any(
        all(is_met(each, names, numbers, shard) for each in way) for way in term.ways
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
        ("葛\U000e0100城", "葛城"),
        ("Ħelen Ŧor", "helen tor"),
        ("Anna\u200b \ufeffSmith\u200e", "anna smith"),
        ("Jo\u00adanna", "joanna"),
        ("\u0646\u06cc\u200c\u06a9", "\u0646\u06cc\u06a9"),
        ("O\u2018Brien O\u00b4Brien O\uff07Brien", "o'brien o'brien o'brien"),
        ("\U0001d409\U0001d428\U0001d421\U0001d427 \uff24\uff4f\uff45 Ⓐnn ™", "john doe ann tm"),
        ("Hawai\u02bbi Sa\u02bcid", "hawai'i sa'id"),
        ("Smith\u2011Jones\u2013Lee\u2212Ng\ufe58Wu", "smith-jones-lee-ng-wu"),
        ("", ""),
    ],
)
def test_text_is_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_each_letter_that_was_folded_stays_as_it_is_and_has_no_case() -> None:
    for letter in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(letter) in ("Cn", "Co", "Cs"):
            continue
        folded = fold(letter)
        assert fold(folded) == folded, hex(ord(letter))
        assert fold(letter.upper()) == fold(letter.lower()) == folded, hex(ord(letter))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_text_that_was_folded_stays_as_it_is(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_what_nobody_sees_is_nowhere_in_folded_text() -> None:
    letters = map(chr, range(sys.maxunicode + 1))
    unseen = [letter for letter in letters if unicodedata.category(letter) == "Cf"]
    assert len(unseen) > 100
    # What chooses a shape, as of a letter in a Japanese name, joins without a trace, or only fills.
    unseen += ["\ufe00", "\ufe0f", "\U000e0100", "\U000e01ef", "\u180b", "\u180f", "\u034f"]
    unseen += ["\u115f", "\u1160", "\u3164", "\uffa0", "\u17b4"]
    assert [letter for letter in unseen if fold(f"a{letter}b") != "ab"] == []


def test_a_digit_of_any_script_is_a_plain_one_in_folded_text() -> None:
    digits = {
        letter: str(unicodedata.decimal(letter))
        for letter in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(letter) == "Nd"
    }
    assert len(digits) > 600
    assert {letter: fold(letter) for letter in digits} == digits


def test_a_backtick_is_found_as_an_apostrophe() -> None:
    assert search_text("d`arcy", "o`brien") == "d'arcy o'brien"
    assert texts("O`Brien") == ["o'brien"]


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
        ("+61 0412 345 678", "au1", "61412345678 0412345678 610412345678"),
        ("0011 61 0412 345 678", "au1", "61412345678 0412345678 610412345678"),
        ("61 0412 345 678", "au1", "61412345678 0412345678 610412345678"),
        ("+44 07911 123456", "uk1", "447911123456 07911123456 4407911123456"),
        ("4407911123456", "uk1", "447911123456 07911123456 4407911123456"),
        ("+44 07911 123456", "au1", "447911123456 4407911123456"),
        ("+39 06 1234 5678", "eu1", "390612345678"),  # which Italy dials from abroad, too
        ("6104 5678", "au1", "61045678"),
        ("+1 015 555 0123", "us1", "10155550123 0155550123"),
        ("\u202a+61 412 345 678\u202c", "au1", "61412345678 0412345678"),
        ("\uff0b\uff16\uff11 412 345 678", "au1", "61412345678 0412345678"),
        (FULL_WIDTH, "au1", "0412345678 61412345678"),
        (ARABIC, "au1", "0412345678 61412345678"),
        (PERSIAN, "au1", "0412345678 61412345678"),
        (DEVANAGARI, "au1", "61412345678 0412345678"),
        ("61412345678", "au1", "61412345678 0412345678"),
        ("6123 4567", "au1", "61234567"),  # without its area code
        ("442079460000", "uk1", "442079460000 02079460000"),
        ("61412345678", "eu1", "61412345678"),
        ("(415) 555-0123", "us1", "4155550123 14155550123"),
        ("+1 415 555 0123", "us1", "14155550123 4155550123"),
        ("1-416-555-0199", "ca1", "14165550199 4165550199"),
        ("555-0123", "us1", "5550123"),
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
        ("100%", ["100"]),
        ("100 % _", ["100"]),
        ("% _", ["%", "_"]),
        ("\u202a+61 412 345 678\u202c", ["61412345678"]),
        ("0412\u2013345\u2013678", ["0412345678"]),
        ("0412\u2011345\u2011678", ["0412345678"]),
        (FULL_WIDTH, ["0412345678"]),
        (ARABIC, ["0412345678"]),
        (PERSIAN, ["0412345678"]),
        (DEVANAGARI, ["61412345678"]),
        ("0412 345 678.", ["0412345678"]),
        ("0412-", ["0412"]),
        ("Smith - Jones", ["smith", "jones"]),
        ("smith-", ["smith-"]),
        ("Anna Smith <anna@example.com>", ["anna", "smith", "anna@example.com"]),
        ("Anna (0412 345 678)", ["anna", "0412345678"]),
        ("'anna@example.com'; “Smith”", ["anna@example.com", "smith"]),
        ("   ", []),
        ("anna.85.12@example.com", ["anna.85.12@example.com"]),
        ("anna.lee-12-03@gmail.com 0412 345 678", ["anna.lee-12-03@gmail.com", "0412345678"]),
        ("info@24-7care.com", ["info@24-7care.com"]),
        ("+61 (0)412 345 678", ["61412345678"]),
        ("(+61) 412 345 678", ["61412345678"]),
        ("+61 0412 345", ["61412345"]),
        ("0061 0412 345 678", ["61412345678"]),
        ("61 0412345678", ["610412345678"]),
        ("0011 61 412 345 678", ["61412345678"]),
        ("0031 20 000 0000", ["31200000000"]),
        ("0012", ["0012"]),
        ("(02)", ["02"]),
        ("Smith, John;", ["smith", "john"]),
        ("Smith,John", ["smith", "john"]),
        ("smith;john", ["smith", "john"]),
        ("王\uff0c小明", ["王", "小明"]),
        ("山田、太郎\uff1b花子", ["山田", "太郎", "花子"]),
        ("سمیت،جون؛", ["سمیت", "جون"]),
        ("anna@example.com,0412 345 678", ["anna@example.com", "0412345678"]),
        ("0412 345 678, 0413 999 888", ["0412345678", "0413999888"]),
        ("0412,345", ["0412", "345"]),
        ("0412 345 678 0413 999 888", ["0412345678", "0413999888"]),
        ("0412345678 0413999888 0414777666", ["0412345678", "0413999888", "0414777666"]),
        ("0412345678/0413999888", ["0412345678", "0413999888"]),
        ("(02) 9999-0000 - 0412 345 678", ["0299990000", "0412345678"]),
        ("0412 345 678 0061 413 999 888", ["0412345678", "61413999888"]),
        ("0412 345 678 +61 (0)413 999 888", ["0412345678", "61413999888"]),
        ("+44 07700 900 123 / 020 7946 0958", ["447700900123", "02079460958"]),
        ("+61 0412 3456 78 02 9876 5432", ["61412345678", "0298765432"]),
        ("07911 123456 020 7946 0000", ["07911123456", "02079460000"]),
        ("0011 61 (0)412 345 678", ["61412345678"]),  # of 16 digits, but one number
        ("1041015460801215425", ["1041015460801215425"]),
        ("tel:+61412345678", ["61412345678"]),
        ("<TEL:+61-412-345-678>", ["61412345678"]),
        ("mailto:anna@example.com", ["anna@example.com"]),
        ("Tel: 0412 345 678", ["tel", "0412345678"]),
        ("tel:", ["tel"]),
        ("hotel:5", ["hotel:5"]),
        (" , ", [","]),
        (";", [";"]),
        (",; ;", [",;", ";"]),
        ("-", ["-"]),
        ("()", ["()"]),
        ("\u200b", ["\u200b"]),
        ("\u0301", ["\u0301"]),
        ("\u0301 smith,", ["smith"]),
        ("Twin 1 2", ["twin", "1", "2"]),
        ("Twin 3 - 4", ["twin", "3", "4"]),
        ("Doe #12-3", ["doe", "12-3"]),
        ("Unit 1.5", ["unit", "1.5"]),
        ("EAP 2024-117", ["eap", "2024117"]),
        ("Smith 2 0412345678", ["smith", "20412345678"]),
    ],
)
def test_a_search_is_taken_apart(search: str, words: list[str]) -> None:
    assert texts(search) == words


@given(st.text(max_size=20), st.sampled_from("\u200b\u200e\u202a\u2060\ufeff"))
def test_what_nobody_sees_changes_no_search(search: str, mark: str) -> None:
    if fold(search).strip():
        assert terms(mark.join(f" {search} ")) == terms(f" {search} ")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@example("0011 61 412 345 678")
@example("+44 (0)20 7946 0000")
@example("EAP 2024-117 / 3 (0412.345.678)")
def test_whoever_is_searched_for_by_the_whole_name_is_there(name: str) -> None:
    stored = search_text(fold(name))
    assert not fold(name).strip() or all(is_met(term, stored) for term in terms(name))


@given(st.text("012345678 -./()+,#a", max_size=40))
def test_whoever_is_searched_for_by_a_whole_name_of_digits_is_there(name: str) -> None:
    stored = search_text(fold(name))
    assert not name.strip() or all(is_met(term, stored) for term in terms(name))


@pytest.mark.parametrize("shard", ["au1", "uk1", "us1", "eu1"])
@pytest.mark.parametrize("name", ["2", "12", "007", "2 3", "1.5", "1204", "202411", "2024-117"])
@pytest.mark.parametrize(
    "number",
    [
        *("0412345678", "0412 345 678", "0412/345/678", "(02) 9999-0000", "+61 412 345 678"),
        *("1-415-555-0123", "1 (415) 555-0123"),
    ],
)
def test_digits_of_a_name_beside_a_number_spoil_neither(name: str, number: str, shard: str) -> None:
    digits = search_digits([number], shard)
    for search in (f"{name} {number}", f"{number} {name}"):
        assert all(is_met(term, name, digits, shard) for term in terms(search)), search
        for names, numbers in (("smith", digits), (name, "0499999999")):
            assert not all(is_met(term, names, numbers, shard) for term in terms(search)), search


def test_part_of_a_number_behind_a_whole_one_is_another_number() -> None:
    mine, others = (
        search_digits(["0412 345 678", number], "au1") for number in ("9999 0000", "9 8765")
    )
    (term,) = terms("0412 345 678 999 000")
    assert is_met(term, "smith", mine)
    assert not is_met(term, "smith", others)


@pytest.mark.parametrize("search", ["61 0412345678", "61 0412 345 678"])
def test_a_calling_code_beside_a_number_may_be_a_name_too(search: str) -> None:
    (term,) = terms(search)
    assert is_met(term, "smith", search_digits(["+61 412 345 678"], "au1"))
    assert is_met(term, "room 61", search_digits(["0412 345 678"], "eu1"), "eu1")
    assert not is_met(term, "room 61", search_digits(["0412 345 679"], "au1"))


def test_digits_of_a_name_in_groups_may_stand_before_a_number() -> None:
    (term,) = terms("2024-117 0412345678")
    assert is_met(term, "eap 2024-117", "0412345678")
    assert not is_met(term, "eap 2024-118", "0412345678")


@pytest.mark.parametrize("search", ["0412345678", "+61412345678", "(0412)", "0061412345678"])
def test_a_number_without_a_gap_is_looked_for_in_one_way(search: str) -> None:
    assert [term.ways for term in terms(search)] == [((Term(texts(search)[0]),),)]


@pytest.mark.parametrize("search", ["0412 345 678", "(02) 9999 0000", "+61 412 345 678"])
def test_names_are_looked_through_once_for_a_number_in_groups(search: str) -> None:
    """Where the first group is in no name, as a rule, nothing else is compared with it."""
    assert [len(term.ways) for term in terms(search)] == [1]
    assert is_met(terms(search)[0], texts(search)[0])


@given(
    st.sampled_from(["0412345678", "+61412345678", "61412345678", "+610412345678"]),
    st.lists(st.sampled_from(["", " ", "-", ".", "\u2011", "\u2013", "\u200e"]), min_size=9),
    st.integers(4, 10),
)
def test_a_mobile_is_found_however_it_was_typed(
    number: str, between: list[str], length: int
) -> None:
    typed = "".join(map("".join, zip(number, [*between, *[""] * 12], strict=False)))
    stored = search_digits([typed], "au1")
    for said in ("0412345678", "61412345678"):
        assert said[:length] in stored
        assert any(form in stored for form in forms(terms(typed)[0].text, "au1"))


@pytest.mark.parametrize(
    ("stored", "shard", "typed"),
    [
        ("07911 123456", "uk1", ["+44 07911 123456", "+44 0791", "4407911123456"]),
        ("+44 07911 123456", "uk1", ["+44 7911", "07911", "+44 (0)7911 123456", "4407911123456"]),
        ("0412 345 678", "au1", ["+61 0412 345 678", "0061 0412 345", "61 0412345678"]),
        ("+44 07911 123456", "au1", ["+44 7911", "0044 07911 123456", "447911123456"]),
        ("+44 07911 123456", "eu1", ["07911 123456", "44 07911 123456"]),
        ("+61 0412 345 678", "au1", ["61 0412 345", "0412 345"]),
        ("0400 610 123", "au1", ["00 610 123"]),
        ("0412 006 1012", "au1", ["0061012", "06 1012"]),
    ],
)
def test_a_zero_behind_the_calling_code_hides_no_number(
    stored: str, shard: str, typed: list[str]
) -> None:
    digits = search_digits([stored], shard)
    for search in typed:
        (term,) = terms(search)
        assert any(form in digits for form in forms(term.text, shard)), search


@pytest.mark.parametrize(
    ("number", "shard", "found"),
    [
        ("0412345678", "au1", ["0412345678", "61412345678"]),
        ("61412345678", "au1", ["61412345678", "0412345678"]),
        ("14165550199", "ca1", ["14165550199", "4165550199"]),
        ("4165550199", "ca1", ["4165550199"]),  # which the longer one contains
        ("4155550123", "us1", ["4155550123"]),
        ("0412", "au1", ["0412"]),
        ("610412345678", "au1", ["610412345678", "61412345678", "0412345678"]),
        ("4407911123456", "uk1", ["4407911123456", "447911123456", "07911123456"]),
        ("31200000000", "eu1", ["31200000000"]),
    ],
)
def test_a_whole_number_is_looked_for_in_both_forms(
    number: str, shard: str, found: list[str]
) -> None:
    assert forms(number, shard) == found


def test_four_digits_make_a_number() -> None:
    assert terms("0412") == [Term("0412", ((Term("0412"),),))]
    assert terms("٠٤١٢") == terms("0412")
    assert terms("041") == [Term("041")]
    assert terms("a0412") == [Term("a0412")]
