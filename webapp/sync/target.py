"""Where what a sync reads belongs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """Where a page belongs: the clinic, and the sync that read it."""

    organization_id: int
    sync_log_id: int
    shard: str | None
