"""Which passwords are guessed first. Pure.

Whoever guesses begins with common words, with the names of the product, the clinic and the person,
with walks over the keyboard and with repetition, and adds digits to each. All of that counts for
nothing here: what is left must be a password by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PRODUCT = "patient sync cliniko"
SHORTEST_WALK = 4
FEWEST_DIFFERENT = 5  # characters
SHORTEST_REST = 8  # of what is left when something was taken out
SHORTEST_UNIT = 12  # what is written several times must be long enough by itself

_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop[]",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl;'",
    "qsdfghjklm",
    "zxcvbnm,./",
    "yxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
    "!@#$%^&*()_+",
)
_WALKS = (*_ROWS, *(row[::-1] for row in _ROWS))
_SAME_AGAIN = re.compile(r"(.)\1{3,}", re.DOTALL)
_ORNAMENT = r"[\W\d_]+"
_AT_THE_ENDS = re.compile(rf"^{_ORNAMENT}|{_ORNAMENT}$")
# Letters in disguise; a 1 stands for either of two.
_DISGUISES = tuple(str.maketrans("@$03457!1", f"asoeasti{one}") for one in "il")


def is_guessable(password: str, about: Iterable[str] = ()) -> bool:
    """Whether a password is among the first that anybody would try. `about` is what can be known of
    the person: their address, the name of their clinic."""
    text = whole = password.casefold()
    if len(_unit(text)) < min(len(text), SHORTEST_UNIT):
        return True
    text = _SAME_AGAIN.sub(" ", text)
    for word in _known(about):
        text = text.replace(word, " ")
    text = _without_walks(text)
    left = _AT_THE_ENDS.sub("", text)
    if text != whole and len(left) < SHORTEST_REST:
        return True
    forms = (*_undisguised(whole), *_undisguised(left))
    return len(set(text)) < FEWEST_DIFFERENT or any(map(_is_common, forms))


def _unit(text: str) -> str:
    """What the text consists of, if it is that several times; else the text."""
    for length in range(1, len(text) // 2 + 1):
        if text[length:] == text[:-length]:
            return text[:length]
    return text


def _known(about: Iterable[str]) -> list[str]:
    """The words in what is known, the longest first; short ones stand in too many others."""
    words = {word for text in (PRODUCT, *about) for word in re.split(_ORNAMENT, text.casefold())}
    return sorted((word for word in words if len(word) > 2), key=len, reverse=True)


def _without_walks(text: str) -> str:
    kept, start = [], 0
    while start < len(text):
        end = start + 1
        while end < len(text) and any(text[start : end + 1] in walk for walk in _WALKS):
            end += 1
        walked = end - start >= SHORTEST_WALK
        kept.append(" " if walked else text[start])
        start = end if walked else start + 1
    return "".join(kept)


def _undisguised(text: str) -> Iterator[str]:
    """The letters alone, digits and signs in the middle of a word left out, or read as what they
    look like."""
    yield re.sub(_ORNAMENT, "", text)
    parts = [_AT_THE_ENDS.sub("", part) for part in re.split(r"[^\w@$!]+|_", text)]
    for disguise in _DISGUISES:
        yield re.sub(_ORNAMENT, "", "".join(parts).translate(disguise))


def _is_common(letters: str) -> bool:
    """Whether the text is one common word after the other."""
    words, longest = _common_words()
    ends = [True] + [False] * len(letters)  # where words can end
    for end in range(1, len(letters) + 1):
        starts = range(max(0, end - longest), end)
        ends[end] = any(ends[start] and letters[start:end] in words for start in starts)
    return len(letters) > 0 and ends[-1]


@cache
def _common_words() -> tuple[frozenset[str], int]:
    """The words, and the length of the longest."""
    lines = Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8").split("\n")
    words = frozenset(line for line in lines if line and not line.startswith("#"))
    return words, max(map(len, words))
