"""Names that people give to things."""

from __future__ import annotations

from webapp.errors import ValidationError


def checked(name: str, *, of: str, most: int) -> str:
    """The name with single spaces. `of` says in the error what was to be named.

    Raises ValidationError for one that is empty, longer than `most`, or not printable.
    """
    name = " ".join(name.split())
    if not name or len(name) > most or not name.isprintable():
        raise ValidationError(
            f"Give the {of} a name of 1 to {most} printable characters.", parameter="name"
        )
    return name
