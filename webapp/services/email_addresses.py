"""E-mail addresses, by which people are known."""

from __future__ import annotations

import re

from webapp.errors import ValidationError

# None of what has a meaning of its own in the header of a mail, which a library may stumble over.
_SPECIAL = r'@\s()<>\[\]:;,\\"'
_ADDRESS = re.compile(rf"[^{_SPECIAL}]+@([^{_SPECIAL}.]+\.)+[^{_SPECIAL}.]+")
# How an encoded word begins (RFC 2047): a mail would go to the address that it stands for.
_ENCODED = "=?"
_LONGEST = 320


def checked(email: str) -> str:
    """An address in the form in which it is stored. Raises ValidationError for what is none."""
    email = normalized(email)
    is_one = _ADDRESS.fullmatch(email) and email.isprintable() and _ENCODED not in email
    if len(email) > _LONGEST or not is_one:
        raise ValidationError("This is not an e-mail address.", parameter="email")
    return email


def normalized(email: str) -> str:
    """The form in which an address is stored and compared."""
    return email.strip().lower()
