"""Which patients Cliniko has shown to a sync, over all its attempts: for the certificate, and to be
compared with how many Cliniko counts."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from webapp.sync.certificate import Tally, certificate, tally_of_copy
from webapp.sync.failures import failed_before
from webapp.sync.target import Target


@dataclass(frozen=True)
class Shown:
    """`told`: those whose records could be stored. `left_out`: the digests of forgotten patients
    who are living. `unread_tombstones`: keys of records in the list of deleted patients that could
    not be read, of patients whom no list of living ones had shown."""

    told: Tally = field(default_factory=Tally)
    left_out: Set[str] = frozenset()
    unread_tombstones: Set[str] = frozenset()

    def plus(
        self,
        told: Tally,
        *,
        left_out: Set[str] = frozenset(),
        unread_tombstones: Set[str] = frozenset(),
    ) -> Shown:
        """With what pages have shown beyond it."""
        return Shown(
            self.told.plus(told),
            self.left_out | left_out,
            self.unread_tombstones | unread_tombstones,
        )

    def missing_of(self, counted: int, target: Target, *, failed: int) -> int:
        """How many of the living patients that Cliniko counts are not among them. `failed`: how
        many of the sync's records could not be stored, of which patients it has shown as well."""
        unread = self.unread_tombstones
        deleted = len(unread & failed_before(target.sync_log_id)) if unread else 0
        return max(0, counted - (self.told.living + failed - deleted + len(self.left_out)))

    def certificate(self, target: Target, *, missed: int) -> dict[str, Any]:
        """The certificate of a sync that reads all lists: no other can tell whether both sides are
        the same. `missed`: see `certificate.certificate`."""
        copy = tally_of_copy(target.organization_id, target.secret)
        return certificate(self.told, copy, missed=missed)

    def to_json(self) -> dict[str, Any]:
        """What of a checkpoint it is."""
        return {
            "told": self.told.to_json(),
            "left_out": sorted(self.left_out),
            "unread_tombstones": sorted(self.unread_tombstones),
        }

    @classmethod
    def from_json(cls, checkpoint: Mapping[str, Any]) -> Shown:
        """What a checkpoint tells of it."""
        return cls(
            Tally.from_json(checkpoint.get("told")),
            frozenset(checkpoint.get("left_out", ())),
            frozenset(checkpoint.get("unread_tombstones", ())),
        )
