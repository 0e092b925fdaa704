"""Who stands behind an API key."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from simulator.allowance import Allowance
from simulator.patient import HOME

_WITH_SHARD = re.compile(r"(?P<body>.+)-[a-z]{2}[0-9]{1,2}")


class KeyState(StrEnum):
    OK = "ok"
    WRONG = "wrong"  # mistyped: Cliniko has never made such a key
    REVOKED = "revoked"
    FORBIDDEN = "forbidden"  # its user has lost every right but to see who they are


@dataclass(eq=False)
class ClinikoUser:
    """A user of Cliniko. Keys are theirs, and all their keys share one allowance."""

    id: str
    email: str
    first_name: str = "Robin"
    last_name: str = "Breaker"
    role: str = "administrator"
    may_see_settings: bool = True
    keys: dict[str, KeyState] = field(default_factory=dict)
    allowance: Allowance = field(default_factory=Allowance)

    def state_of(self, user_name: str) -> KeyState | None:
        """Return the state of the key given as Basic user name; None if it is not this user's."""
        for key, state in tuple(self.keys.items()):  # keys may be added meanwhile
            if user_name in _spellings(key):
                return state
        return None

    def record(self) -> dict[str, Any]:
        """Return the user as /user shows them."""
        return {
            "id": self.id,
            "title": "",
            "first_name": self.first_name,
            "last_name": self.last_name,
            "email": self.email,
            "role": self.role,
            "time_zone": "Sydney",
            "user_active": True,
            "created_at": "2015-02-02T08:00:00Z",
            "updated_at": "2024-06-03T01:30:00Z",
            "links": {"self": f"{HOME}/users/{self.id}"},
        }


def _spellings(key: str) -> set[str]:
    """Return a key with and without its shard; one that names none is from au1."""
    form = _WITH_SHARD.fullmatch(key)
    return {key, form["body"]} if form else {key, f"{key}-au1"}
