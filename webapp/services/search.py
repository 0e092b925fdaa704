"""What patients are found by: text without case and accents, phone numbers as digits. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import filterfalse, groupby
from typing import NamedTuple

from webapp.services.phone_numbers import (
    NO_DIGIT,
    WHOLE,
    both_forms,
    dialled,
    digits_of,
    without_trunk,
)

# What nobody sees, and what copied names and numbers come with: marks of direction, joiners, soft
# hyphens, those that choose one of several shapes of a letter, fillers. They are those of Unicode's
# category Cf, which takes long to look for at each start, and those it calls ignorable.
_UNSEEN = [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x600, 0x605), (0x61C, 0x61C), (0x6DD, 0x6DD), (0x70F, 0x70F),
    (0x890, 0x891), (0x8E2, 0x8E2), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0001, 0xE0001), (0xE0020, 0xE007F),
    (0xE0100, 0xE01EF),
]  # fmt: skip
_ACUTE = "\u00b4"  # typed as an apostrophe; Unicode takes it apart into a space and an accent
_APOSTROPHES = "\u2018\u2019\u201b\u2032\u02b9\u02bb\u02bc\u02bd\u02be\u02bf"
_HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
# The zeros of all scripts; behind each stand its other nine digits. Those that are a plain digit in
# another form, as full-width ones, are not among them.
_ZEROS = [
    *(0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6),
    *(0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50),
    *(0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0),
    *(0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650),
    *(0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0),
    *(0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1),
    0x1E950,
]
# With the letters that Unicode does not take apart into a base letter and an accent.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "\u0131": "i"}
    | {"ħ": "h", "ŧ": "t"}
    | dict.fromkeys(_APOSTROPHES, "'")
    | dict.fromkeys(_HYPHENS, "-")
    | {chr(code): "" for first, last in _UNSEEN for code in range(first, last + 1)}
    | {chr(zero + digit): str(digit) for zero in _ZEROS for digit in range(10)}
)

# Digits as people write a phone number: in groups, with brackets, dots or hyphens between.
_PHONE_RUN = re.compile(r"([+(]{0,2}\d(?:[\s().\-/]*\d)+\)?)", re.ASCII)
_PARTS = re.compile(r"[\s/]+")
_MOST_DIGITS = 15  # no number has more (E.164)
LONGEST = 320  # characters of a search: an e-mail address has no more
MIN_DIGITS = 4
_SURE = 9  # digits behind 00 that are more than the end of a number
# Between names, often without a blank: `Smith,John`. Fold makes the full-width ones plain.
_BETWEEN = re.compile("[,;\u060c\u061b\u3001]")
# What a link to a number or an address begins with, where it was copied whole.
_LINK = re.compile(r"\b(?:tel|mailto):(?=\S)")
# Around words that were copied from elsewhere: `Smith, John <john@example.com>`.
_AROUND = ",;:.!?'\"()[]{}<>\u201c\u201d\u201e\u00ab\u00bb"


def fold(text: str) -> str:
    """Text without case, accents and what nobody sees, its digits, apostrophes and hyphens plain:
    `Müller-O'Brien` is `muller-o'brien`."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace(_ACUTE, "'"))
    # Once more, for a letter in another form, as a bold one, has no case until it is taken apart.
    decomposed = decomposed.casefold()
    return "".join(filterfalse(unicodedata.combining, decomposed)).translate(_PLAIN)


def search_text(*folded: str) -> str:
    """What the words of a search are looked for in, of names and an address that were folded."""
    # Typed as an apostrophe. Not in `fold`, which would take a tenth longer for each plain name.
    return " ".join(filter(None, folded)).replace("`", "'")


def sort_key(last_name: str, first_name: str) -> str:
    """Last name, then first name, both folded; the tab sorts before letters, so `Van` precedes
    `Van Dyke`. Whoever has no name at all comes last.
    """
    key = f"{last_name.strip()}\t{first_name.strip()}"
    return key if key != "\t" else "\uffff"


def search_digits(numbers: list[str], shard: str | None) -> str:
    """Each phone number as digits, in its international and in its national form."""
    forms: list[str] = []
    for number in numbers:
        international, written = dialled(number if number.isascii() else fold(number))
        if written:
            digits = without_trunk(written) if international else written
            # As it was written too, for whoever types the part behind the calling code.
            forms += [*both_forms(digits, international, shard), written]
    return " ".join(dict.fromkeys(forms))


class Term(NamedTuple):
    """A word, looked for in names and addresses; or, where it has `ways`, a number, looked for in
    phone numbers, in whose place a name may hold all terms of one of the ways."""

    text: str
    ways: tuple[tuple[Term, ...], ...] = ()


def terms(search: str) -> list[Term]:
    """A search taken apart: words folded, each phone number, however grouped, one run of digits
    or, for names that hold digits, as it was written.
    A word with a letter is none of a number: `anna.85.12@example.com` stays as it is. Where nothing
    else is left, as of a comma or a lone accent, it is looked for as it stands: no search that says
    something finds everybody. Beside other words, one without a letter or a digit says nothing."""
    found: list[Term] = []
    folded = fold(search).replace("`", "'")
    for piece in _BETWEEN.split(_LINK.sub("", folded)):
        for is_text, words in groupby(piece.split(), _has_letter):
            run = " ".join(words)
            for place, part in enumerate([run] if is_text else _PHONE_RUN.split(run)):
                found += _numbers(part) if place % 2 else _words(part)
    telling = [term for term in found if _tells(term)]
    return telling or found or [Term(word) for word in folded.split() or search.split()]


def _has_letter(word: str) -> bool:
    return "@" in word or any(map(str.isalpha, word))


def _tells(term: Term) -> bool:
    return any(map(str.isalnum, term.text))


def _words(text: str, around: str = _AROUND) -> list[Term]:
    return [Term(word) for each in text.split() if (word := each.strip(around))]


def _numbers(run: str) -> list[Term]:
    """A run of digits: as a rule one number. Where it is longer than any is, several stand side by
    side; or the last one does, behind digits of a name."""
    ways = [_side_by_side(run)]
    if len(digits_of(run)) > _MOST_DIGITS:
        ways += [_side_by_side(one) + _as_terms(other) for one, other in _apart(run)[:1]]
    if ways[1:] in ([], ways[:1]):
        return ways[0]
    return [Term(NO_DIGIT.sub("", run), tuple(map(tuple, ways)))]


def _side_by_side(run: str) -> list[Term]:
    return [term for number in _numbers_in(run) for term in _as_terms(number)]


def _as_terms(number: str) -> list[Term]:
    """A number; or, where its digits are too few for part of one, the words that were written."""
    words = [word for word in _words(number, _AROUND + "+") if _tells(word)]
    digits = _as_digits(number)
    if len(digits) < MIN_DIGITS:
        return words
    joined = [Term(digits)]
    # Where a longer text stands, the shorter ones that it contains have been found already.
    if any(digits in word.text for word in words):
        ways = [joined]
    else:
        ways = [_as_terms(one) + _as_terms(other) for one, other in _apart(number)]
        ways = ways or [words]
        ways += [] if all(word.text in digits for word in words) else [joined]
    return [Term(digits, tuple(map(tuple, ways)))]


def _as_digits(number: str) -> str:
    international, digits = dialled(number)
    # `00 610 123` is rather the end of a number than the beginning of one that was dialled.
    if international and ("+" in number or len(digits) >= _SURE):
        digits = without_trunk(digits)
    # `0012` may be the end of a number: without its zeros it would find nothing.
    return digits if len(digits) >= MIN_DIGITS else NO_DIGIT.sub("", number)


def _apart(run: str) -> list[tuple[str, str]]:
    """How digits of a name may stand before a whole number, with a calling code or without, and how
    behind one."""
    groups = [group for group in _PARTS.split(run) if NO_DIGIT.sub("", group)]
    halves = [(" ".join(groups[:end]), " ".join(groups[end:])) for end in range(1, len(groups))]
    number_last = [each for each in halves if len(digits_of(each[1])) >= WHOLE]
    number_first = [each for each in halves if len(digits_of(each[0])) >= WHOLE]
    return [*dict.fromkeys([*number_last[-1:], *number_last[:1], *number_first[:1]])]


def _numbers_in(run: str) -> Iterator[str]:
    """Each ends with the group that makes it whole."""
    if len(digits_of(run)) <= _MOST_DIGITS:
        yield run
        return
    number = ""
    for group in _PARTS.split(run):
        number = f"{number} {group}"
        if len(digits_of(number)) >= WHOLE:
            yield number
            number = ""
    if number:
        yield number
