"""What patients are found by: text without case and accents, phone numbers as digits. Pure."""

from __future__ import annotations

import re
import unicodedata
from itertools import filterfalse, groupby

# Letters that Unicode does not take apart into a base letter and an accent.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "\u0131": "i"}
)

# The calling code of the region that a shard serves, and the prefix that national numbers there
# begin with. "eu" spans countries, so national numbers of that shard are kept as they are.
_CALLING_CODES = {"au": ("61", "0"), "uk": ("44", "0"), "ca": ("1", ""), "us": ("1", "")}

# Digits as people write a phone number: in groups, with brackets, dots or hyphens between.
_PHONE_RUN = re.compile(r"[+(]{0,2}\d(?:[\s().\-/]*\d)+\)?", re.ASCII)
# What an international number begins with; 0011 is how Australia dials one. Behind its calling code
# may stand, in brackets, the zero that is dialled within the country only.
_INTERNATIONAL = re.compile(r"[\s(]*(?:\+|00(?:11)?)")
_ZERO_WITHIN = re.compile(r"(?<=\d)[\s)]*\(0\)", re.ASCII)
_NO_DIGIT = re.compile("[^0-9]")
LONGEST = 320  # characters of a search: an e-mail address has no more
MIN_DIGITS = 4
_WHOLE = 10  # digits of a number that is no part of one
_AROUND = ",;"  # between names that were copied from elsewhere: `Smith, John`


def fold(text: str) -> str:
    """Text without case and accents: `Müller-O'Brien` is `muller-o'brien`."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("\u2019", "'"))
    return "".join(filterfalse(unicodedata.combining, decomposed)).translate(_PLAIN)


def search_text(*folded: str) -> str:
    """What the words of a search are looked for in, of names and an address that were folded."""
    return " ".join(filter(None, folded))


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
        international, digits = _dialled(number)
        if digits:
            forms.extend(_both_forms(digits, international, shard))
    return " ".join(dict.fromkeys(forms))


def terms(search: str) -> list[str]:
    """A search taken apart: words folded, each phone number, however grouped, one run of digits.
    A word with a letter is none of a number: `anna.85.12@example.com` stays as it is. Where nothing
    else is left, as of a comma or a lone accent, it is looked for as it stands: no search that says
    something finds everybody."""
    found: list[str] = []
    for is_text, words in groupby(fold(search).split(), _has_letter):
        run = " ".join(words)
        parts = (run if is_text else _PHONE_RUN.sub(_as_digits, run)).split()
        found += filter(None, (part.strip(_AROUND) for part in parts))
    return found or fold(search).split() or search.split()


def forms(number: str, shard: str | None) -> list[str]:
    """A number that is searched for, and how else it may stand there: nationally where it begins
    with the calling code, and the other way round. Part of a number stands for itself alone."""
    if len(number) < _WHOLE:
        return [number]
    code, _ = _calling_code(shard)
    return _both_forms(number, number.startswith(code), shard)


def is_number(term: str) -> bool:
    """Whether a term also matches phone numbers."""
    return len(term) >= MIN_DIGITS and term.isascii() and term.isdigit()


def _has_letter(word: str) -> bool:
    return "@" in word or any(map(str.isalpha, word))


def _as_digits(phone: re.Match[str]) -> str:
    _, digits = _dialled(phone.group())
    # `0012` may be the end of a number: without its zeros it would find nothing.
    return f" {digits if is_number(digits) else _NO_DIGIT.sub('', phone.group())} "


def _dialled(number: str) -> tuple[bool, str]:
    """Whether a phone number is an international one, and its digits without what only says so."""
    prefix = _INTERNATIONAL.match(number)
    if prefix is not None:
        number = _ZERO_WITHIN.sub("", number[prefix.end() :], count=1)
    return prefix is not None, _NO_DIGIT.sub("", number)


def _calling_code(shard: str | None) -> tuple[str, str]:
    return _CALLING_CODES.get((shard or "au1")[:2], ("", ""))


def _both_forms(digits: str, international: bool, shard: str | None) -> list[str]:
    code, trunk = _calling_code(shard)
    if international:
        if code and digits.startswith(code):
            return [digits, trunk + digits.removeprefix(code)]
        return [digits]
    if code and trunk and digits.startswith(trunk):
        return [digits, code + digits.removeprefix(trunk)]
    return [digits]
