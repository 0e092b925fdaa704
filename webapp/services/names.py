"""Names that people give to things."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from webapp.errors import ValidationError

_QUOTES = str.maketrans("“”", "''")
_MOST_QUOTED = 60  # characters
# Between two letters, as Persian and Indic names are spelled, and within some emoji.
_JOINED = re.compile(r"(?<=[^\s\u200c\u200d])[\u200c\u200d](?=[^\s\u200c\u200d])")

# What mail programs make a link of. They may of a host alone, too: that is many a clinic's name.
_LINK = re.compile(
    r"""
    ://
    | (?<![^\W_]) www\.
    | (?: \w\. [\w-]+ [^\W\d_] | (?:\d+\.){3}\d+ ) \.? (?: :\d+ )? /
    """,
    re.IGNORECASE | re.VERBOSE,
)


def checked(name: str, *, of: str, most: int, in_mails: bool = False) -> str:
    """The name with single spaces. `of` says in the error what was to be named; one that stands
    `in_mails` must lead nowhere.

    Raises ValidationError for one that is empty, longer than `most`, or not printable.
    """
    name = " ".join(name.split())
    if not name or len(name) > most or not _JOINED.sub("", name).isprintable():
        raise ValidationError(
            f"Give the {of} a name of 1 to {most} printable characters.", parameter="name"
        )
    if in_mails and _LINK.search(_JOINED.sub("", name)):
        raise ValidationError(
            f"Leave addresses with “://”, “www.” or a “/” out of the name of the {of}: it stands "
            "in mails, which must not lead elsewhere.",
            parameter="name",
        )
    return name


def told_apart(given: Mapping[int, str]) -> dict[int, str]:
    """What each is called in a list, by id: its name, and `#id` behind one that stands there more
    than once, or that looks like another one with its id."""
    numbered = {number: f"{name} #{number}" for number, name in given.items()}
    taken = Counter([*given.values(), *numbered.values()])
    return {
        number: name if taken[name] == 1 else numbered[number] for number, name in given.items()
    }


def quoted(name: str) -> str:
    """The name as it stands in a mail: in quotes and not long, so that whatever somebody has called
    a thing is not taken for words of ours."""
    name = name.translate(_QUOTES)
    return f"“{name if len(name) <= _MOST_QUOTED else name[: _MOST_QUOTED - 1] + '…'}”"
