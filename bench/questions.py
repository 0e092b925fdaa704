"""What is asked when searches are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bench.crowd import SYNCED_AT
from webapp.cliniko.records import PatientState
from webapp.services.patients import PatientFilter

DEEPEST = -1  # an offset


@dataclass(frozen=True)
class Question:
    """One row of the table: the searches that take turns, and what else is asked for."""

    name: str
    searches: Sequence[str] = ("",)
    state: PatientState | None = PatientState.ACTIVE
    synced_within: timedelta | None = None
    changed_within: timedelta | None = None
    offset: int = 0

    def criteria(self, turn: int) -> PatientFilter:
        """What is asked for the nth time."""
        return PatientFilter(
            state=self.state,
            search=self.searches[turn % len(self.searches)],
            last_synced_after=_before_the_sync(self.synced_within),
            changed_after=_before_the_sync(self.changed_within),
        )


def _before_the_sync(time: timedelta | None) -> datetime | None:
    return None if time is None else SYNCED_AT - time


QUESTIONS = (
    Question("first page, no search"),
    Question("first page, all states", state=None),
    Question("2 letters, common", ("an", "li", "wo", "ma")),
    Question("2 letters, rare", ("zw", "kq", "xj", "vv")),
    Question("3 letters, common", ("ngu", "mar", "ell", "woo")),
    Question("3 letters, rare", ("ehm", "rqu", "ekb", "ykg")),
    Question("5 letters, common", ("quilt", "singh", "woll", "matil")),
    Question("5 letters, rare", ("ashco", "oakwi", "fenby", "elmha")),
    Question("nothing found", ("zzqxj", "nobody at all", "qqqqq")),
    Question("two words", ("quilty zoe", "zoe quilty", "fiona singh", "tran oli")),
    Question("three words", ("van der merwe", "merwe olive van", "example cruz de")),
    Question("e-mail, whole", ("quilty77@example.com", "tran4000@example.com")),
    Question("e-mail, everybody's", ("example.com", "@")),
    Question("phone, whole", ("0491 571 234", "(02) 5550 8680", "+61 491 577 001")),
    Question("phone, four digits", ("1234", "8680", "7001", "0042")),
    Question("phone, everybody's", ("0491 57", "+61491")),
    Question("archived, search", ("an", "quilty", "zzqxj"), PatientState.ARCHIVED),
    Question("deleted, first page", state=PatientState.DELETED),
    Question("all states, search", ("an", "quilty", "zzqxj"), None),
    Question("synced after, everybody", synced_within=timedelta(hours=1)),
    Question("synced after, nobody", synced_within=timedelta(hours=-1)),
    Question("changed after, one in 50", changed_within=timedelta(days=2)),
    Question("changed after, one in 5", changed_within=timedelta(days=20)),
    Question("changed after, and a search", ("an", "quilty"), changed_within=timedelta(days=20)),
    Question("deepest page", offset=DEEPEST),
    Question("deepest page, all states", state=None, offset=DEEPEST),
    Question("deepest page of a search", ("an", "li"), offset=DEEPEST),
)
