"""The ends of the audit trail's chains, written to the log: whoever can write to the database can
cut a chain's tail off and its traces with it, but not what a log has that is kept elsewhere."""

from __future__ import annotations

import structlog

from webapp.services import audit

log = structlog.get_logger()

_told: dict[int, str] = {}


def tell() -> None:
    """Write down where each chain ends that has grown since this process looked last, in the form
    that `audit verify --anchor` takes."""
    for chain, length, last in audit.ends():
        if _told.get(chain) != last:
            log.info("audit_anchor", anchor=f"{chain}:{length}:{last}")
            _told[chain] = last
