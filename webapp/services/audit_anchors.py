"""The ends of the audit trail's chains, written to the log: whoever can write to the database can
cut a chain's tail off and its traces with it, but not what a log has that is kept elsewhere."""

from __future__ import annotations

import structlog

from webapp.services import audit

log = structlog.get_logger()

_told: dict[int, tuple[int, str]] = {}  # by chain: its length and last hash


def tell() -> None:
    """Write down where each chain ends that has grown since this process looked last, in the form
    that `audit verify` takes. A chain can only grow: one that did not, and ends otherwise, was cut
    off, which is an error there."""
    ends = {chain: (length, last) for chain, length, last in audit.ends()}
    for chain, told in _told.items():
        end = ends.setdefault(chain, (0, ""))
        if end != told and end[0] <= told[0]:
            was, here = _anchor(chain, *told), _anchor(chain, *end)
            log.error("audit_chain_was_cut_off", was=was, ends=here)
    for chain, end in ends.items():
        if _told.get(chain) != end:
            log.info("audit_anchor", anchor=_anchor(chain, *end))
    _told.update(ends)


def _anchor(chain: int, length: int, last: str) -> str:
    return f"{chain}:{length}:{last}"
