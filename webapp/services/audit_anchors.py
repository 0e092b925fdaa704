"""The ends of the audit trail's chains, written to the log: whoever can write to the database can
cut a chain's tail off and its traces with it, but not what a log has that is kept elsewhere."""

from __future__ import annotations

import structlog

from webapp.services import audit
from webapp.services.audit_check import Anchor

log = structlog.get_logger()

_told: dict[int, Anchor] = {}  # by chain


def tell() -> None:
    """Write down where each chain ends that has grown since this process looked last, in the form
    that `audit verify` takes. A chain can only grow: one that did not, and ends otherwise, was cut
    off, which is an error there."""
    ends = {end[0]: Anchor(*end) for end in audit.ends()}
    for chain, told in _told.items():
        end = ends.setdefault(chain, Anchor(chain, 0, ""))
        if end != told and end.length <= told.length:
            log.error("audit_chain_was_cut_off", was=str(told), ends=str(end))
    for chain, end in ends.items():
        if _told.get(chain) != end:
            log.info("audit_anchor", anchor=str(end))
    _told.update(ends)
