"""One list of patients, ready to be cut into pages."""

import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import compress
from operator import attrgetter

from simulator.patient import Patient
from simulator.query import Query, Sort

_LOWER: dict[str, Callable[[list[int], int], int]] = {">": bisect_right, ">=": bisect_left}
_UPPER: dict[str, Callable[[list[int], int], int]] = {"<": bisect_left, "<=": bisect_right}


class Shelf:
    """Patients of one list: always in the order of their ids; other orders are made when asked
    for and kept until a patient changes. Not safe between threads: the account locks."""

    def __init__(self, patients: Iterable[Patient] = (), *, shuffles_equals: bool = False) -> None:
        self._patients = {patient.id: patient for patient in patients}
        self._ids = sorted(self._patients)
        self._orders: dict[Sort, list[Patient]] = {}
        self._shuffles_equals = shuffles_equals

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Patient]:
        return (self._patients[patient_id] for patient_id in self._ids)

    def copy(self) -> "Shelf":
        """Return a shelf of its own with the same patients."""
        return Shelf(self, shuffles_equals=self._shuffles_equals)

    def get(self, patient_id: int) -> Patient | None:
        """Return the patient, or None if they are not in this list."""
        return self._patients.get(patient_id)

    def put(self, patient: Patient) -> None:
        """Add a patient, or put a newer version in place of the one held."""
        if patient.id not in self._patients:
            insort(self._ids, patient.id)
        self._patients[patient.id] = patient
        self._orders.clear()

    def take(self, patient_id: int) -> None:
        """Remove a patient that is held."""
        del self._patients[patient_id]
        del self._ids[bisect_left(self._ids, patient_id)]
        self._orders.clear()

    def cut(self, query: Query) -> tuple[list[Patient], int]:
        """Return the patients of one page, and how many the whole listing holds."""
        first_column, descends = query.sort[0]
        bounds = [(f.operator, f.bound) for f in query.filters if f.bound is not None]
        if first_column == "id" and len(bounds) == len(query.filters):
            # The way a sync reads, however many patients there are: by position, without a search.
            positions = self._positions(bounds)[:: -1 if descends else 1]
            page = [self._patients[self._ids[at]] for at in positions[query.window]]
            return page, len(positions)
        found = self._in_order(query.sort)
        for each in query.filters:
            values = map(attrgetter(each.field), found)
            found = list(compress(found, map(each.matches, values)))
        return found[query.window], len(found)

    def _positions(self, bounds: Iterable[tuple[str, int]]) -> range:
        low, high = 0, len(self._ids)
        for comparison, bound in bounds:
            if comparison in _LOWER:
                low = max(low, _LOWER[comparison](self._ids, bound))
            else:
                high = min(high, _UPPER[comparison](self._ids, bound))
        return range(low, high)

    def _in_order(self, sort: Sort) -> list[Patient]:
        if self._shuffles_equals:
            return self._sorted(sort, random.getrandbits(32))
        if sort not in self._orders:
            self._orders[sort] = self._sorted(sort, 0)
        return self._orders[sort]

    def _sorted(self, sort: Sort, salt: int) -> list[Patient]:
        # Nothing is promised about the order of equals, so it must not happen to be that of ids.
        found = sorted(self, key=lambda each: (each.id ^ salt) * 2_654_435_761 & 0xFFFF_FFFF)
        for column, descends in reversed(sort):
            found.sort(key=attrgetter(column), reverse=descends)
        return found
