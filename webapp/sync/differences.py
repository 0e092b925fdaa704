"""What keeps our copy from being the same as Cliniko after a sync, as far as it is known. Pure."""

from __future__ import annotations

from enum import StrEnum

from webapp.models import SyncLog


class Difference(StrEnum):
    """The known ones, the gravest first."""

    FAILED = "failed"  # records that could not be stored
    NOT_SHOWN = "not_shown"  # patients whom Cliniko counts and has not shown
    HELD = "held"  # removals that wait for an admin
    UNASKED = "unasked"  # patients in no list, about whom it could not be asked yet
    KEPT = "kept"  # patients who are gone there and whom an admin keeps


def differences(log: SyncLog) -> dict[Difference, int]:
    """How many patients or records each of them is about; those that are there alone."""
    shown = log.progress
    counts = {
        Difference.FAILED: log.records_failed,
        Difference.NOT_SHOWN: shown.get("not_shown"),
        Difference.HELD: shown.get("removals_held"),
        Difference.UNASKED: shown.get("removals_unasked"),
        Difference.KEPT: shown.get("removals_kept"),
    }
    return {difference: count for difference, count in counts.items() if count}
