"""What digits say as a phone number, from abroad and within its country. Pure."""

from __future__ import annotations

import re

# The calling code of the region that a shard serves, the prefix that national numbers there begin
# with, and how many digits a whole international one has. "eu" spans countries, so national numbers
# of that shard are kept as they are.
_CALLING_CODES = {
    "au": ("61", "0", 11),
    "uk": ("44", "0", 12),
    "ca": ("1", "", 11),
    "us": ("1", "", 11),
}

# What an international number begins with where the zero was left in that is dialled within the
# country only. No number of these countries has one behind its calling code; those of others may.
_CODE_AND_TRUNK = ("610", "440")

# What an international number begins with; 0011 is how Australia dials one. Behind its calling code
# may stand, in brackets, the zero that is dialled within the country only.
_INTERNATIONAL = re.compile(r"[\s(]*(?:\+|00(?:11)?)")
_ZERO_WITHIN = re.compile(r"(?<=\d)[\s)]*\(0\)", re.ASCII)
NO_DIGIT = re.compile("[^0-9]")
WHOLE = 10  # digits of a number that is no part of one


def forms(number: str, shard: str | None) -> list[str]:
    """A number that is searched for, and how else it may stand there: nationally where it begins
    with the calling code, and the other way round. Part of a number stands for itself alone."""
    if len(number) < WHOLE:
        return [number]
    code, *_ = _calling_code(shard)
    both = both_forms(number, number.startswith(code), shard)
    # Where the longer one stands, the shorter one that it contains has been found already.
    return [number, *(form for form in both if number not in form)]


def dialled(number: str) -> tuple[bool, str]:
    """Whether a phone number is an international one, and its digits without what only says so."""
    prefix = _INTERNATIONAL.match(number)
    if prefix is None:
        return False, NO_DIGIT.sub("", number)
    return True, NO_DIGIT.sub("", _ZERO_WITHIN.sub("", number[prefix.end() :], count=1))


def without_trunk(digits: str) -> str:
    """An international number without the zero that is dialled within its country only."""
    return digits[:2] + digits[3:] if digits.startswith(_CODE_AND_TRUNK) else digits


def digits_of(text: str) -> str:
    """The digits of what one may dial from anywhere, or of a national number."""
    international, digits = dialled(text)
    return without_trunk(digits) if international else digits


def both_forms(digits: str, international: bool, shard: str | None) -> list[str]:
    """A number as it is written internationally and nationally where the shard serves; one of
    another country, or part of one, as it is."""
    code, trunk, whole = _calling_code(shard)
    if code and digits.startswith(code):
        within = digits.removeprefix(code)
        trunk_too = trunk != "" and within.startswith(trunk)
        # By its length a whole number tells that it begins with the code: a plus may be lost.
        if international or len(digits) == whole + trunk_too:
            within = within.removeprefix(trunk)
            return [code + within, trunk + within]
    if trunk and digits.startswith(trunk) and not international:
        return [digits, code + digits.removeprefix(trunk)]
    if code and not trunk and not international and len(code + digits) == whole:
        return [digits, code + digits]
    return [digits]


def _calling_code(shard: str | None) -> tuple[str, str, int]:
    return _CALLING_CODES.get((shard or "au1")[:2], ("", "", 0))
