"""Where what a sync reads belongs."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_hex

from webapp.models import Organization, SyncLog


@dataclass(frozen=True)
class Target:
    """Where a page belongs: the clinic, and the sync that read it."""

    organization_id: int
    sync_log_id: int
    shard: str | None
    secret: str = field(default="", repr=False)  # of the digests of the certificate

    @classmethod
    def of(cls, organization: Organization, sync_log: SyncLog) -> Target:
        """The target of a sync, with the secret that it was begun with or with a new one.

        The checkpoint keeps it, and goes when the sync ends. Without it digests of two syncs would
        differ by the hash of whoever came between, by which anybody who knows a person could find
        out whether they are a patient, and whom a clinic has forgotten.
        """
        begun = sync_log.checkpoint
        secret = begun.get("secret", "") if begun else token_hex(16)
        return cls(organization.id, sync_log.id, organization.shard, secret)
