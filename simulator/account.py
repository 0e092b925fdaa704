"""A clinic's account at Cliniko: its users, its patients, and what happens to them."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice, tee
from random import Random
from threading import RLock
from typing import Any, Self

from simulator.invention import invented_records
from simulator.patient import HOME, Patient, State, in_utc, merged_into
from simulator.query import Query
from simulator.shelf import Shelf
from simulator.users import ClinikoUser, KeyState

PatientId = str | int


class Listing(StrEnum):
    """The three lists of patients, by their paths."""

    ACTIVE = "/patients"
    ARCHIVED = "/patients/archived"
    DELETED = "/patients/deleted"


_LISTING = {
    State.ACTIVE: Listing.ACTIVE,
    State.ARCHIVED: Listing.ARCHIVED,
    State.MERGED: Listing.ARCHIVED,
    State.DELETED: Listing.DELETED,
}


class NoSuchPatient(LookupError):
    """There is no such patient, or none in a state from which this can happen to them."""


class ClinikoAccount:
    """An account, without patients at first. Every verb is one step: a request sees the patients
    as they were before it or after it.

    `ids_as_numbers` writes ids as JSON numbers, as the documentation shows them.
    `archiving_moves_updated_at=False` hides archiving, unarchiving and merging from a reader who
    asks for what was updated. `shuffles_equals` puts patients that share a value in another order
    at each request. `deleted_shows_id` adds the id to the list of deleted patients.
    """

    def __init__(
        self,
        *,
        account_id: str = "12345",
        name: str = "Surf Rehab",
        seed: int = 1,
        ids_as_numbers: bool = False,
        archiving_moves_updated_at: bool = True,
        shuffles_equals: bool = False,
        deleted_shows_id: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.id = account_id
        self.name = name
        self.users: list[ClinikoUser] = []
        self.ids_as_numbers = ids_as_numbers
        self.archiving_moves_updated_at = archiving_moves_updated_at
        self.deleted_shows_id = deleted_shows_id
        self._clock = clock
        self._random = Random(seed)
        self._inventions = invented_records(seed, numeric_ids=ids_as_numbers)
        self._shelves = {each: Shelf(shuffles_equals=shuffles_equals) for each in Listing}
        self._lock = RLock()

    @classmethod
    def generate(
        cls,
        *,
        active: int = 602,
        archived: int = 36,
        merged: int = 5,
        deleted: int = 5,
        **settings: Any,
    ) -> Self:
        """Return an account with so many invented patients, always the same ones for one seed.

        The settings are those of an account.
        """
        account = cls(**settings)
        fates = [State.ARCHIVED] * archived + [State.MERGED] * merged + [State.DELETED] * deleted
        count = active + len(fates)
        # The first patient stays active, so that whoever is merged finds somebody before them.
        places = account._random.sample(range(1, max(count, 1)), len(fates))
        account._settle(count, dict(zip(places, fates, strict=True)))
        return account

    def copy(self) -> Self:
        """Return an account with the same patients, now and when it creates some, and no users."""
        twin = copy.copy(self)
        with self._lock:
            self._inventions, twin._inventions = tee(self._inventions)
            twin._shelves = {listing: shelf.copy() for listing, shelf in self._shelves.items()}
        twin._lock, twin.users = RLock(), []
        return twin

    def add_key(
        self,
        key: str,
        *,
        user: ClinikoUser | None = None,
        role: str = "administrator",
        may_see_settings: bool = True,
    ) -> ClinikoUser:
        """Make a key work, for this user or for a new one, and return whose it is."""
        if user is None:
            number = len(self.users) + 1
            user = ClinikoUser(
                id=f"{self.id}{number:04}",
                email=f"user{number}@clinic{self.id}.example.com",
                role=role,
                may_see_settings=may_see_settings,
            )
            self.users.append(user)
        user.keys[key] = KeyState.OK
        return user

    def page(self, listing: Listing, query: Query) -> tuple[list[bytes], int]:
        """Return the JSON of each patient on a page, and how many the whole listing holds."""
        with self._lock:
            shelf = self._shelves[listing]
            if query.with_archived:
                shelf = Shelf([*shelf, *self._shelves[Listing.ARCHIVED]])
            found, total = shelf.cut(query)
        if listing is Listing.DELETED:
            return [each.tombstone(with_id=self.deleted_shows_id) for each in found], total
        return [each.json for each in found], total

    def patient(self, patient_id: PatientId) -> Patient:
        """Return a patient, whatever their state; NoSuchPatient if there never was one."""
        with self._lock:
            for shelf in self._shelves.values():
                if patient := shelf.get(int(patient_id)):
                    return patient
        raise NoSuchPatient(f"There is no patient {patient_id}.")

    def patients(self, *states: State) -> list[Patient]:
        """Return the patients in these states, or all when none is given, in the order of ids."""
        with self._lock:
            everybody = [each for shelf in self._shelves.values() for each in shelf]
        return sorted(each for each in everybody if not states or each.state in states)

    def ids(self, *states: State) -> list[str]:
        """Return the ids of the patients in these states, or of all, ascending."""
        return [str(each.id) for each in self.patients(*states)]

    def truth(self) -> dict[str, tuple[State, dict[str, Any]]]:
        """Return what a perfect copy holds: each id with the state and the whole record."""
        return {str(each.id): (each.state, each.record()) for each in self.patients()}

    def create(self, **content: Any) -> str:
        """Add a patient and return the id. What `content` does not say is invented."""
        with self._lock:
            now = self._now()
            record = next(self._inventions) | {"created_at": now, "updated_at": now} | content
            record["links"] = {"self": f"{HOME}/patients/{record['id']}"}
            self._put(Patient.of(record))
        return str(record["id"])

    def edit(self, patient_id: PatientId, **content: Any) -> None:
        """Change fields of a patient, to anything at all that JSON can hold."""
        with self._lock:
            self._change(patient_id, {"updated_at": self._now()} | content)

    def archive(self, *patient_ids: PatientId) -> None:
        """Move active patients to the archived list."""
        self._move(patient_ids, {"archived_at": self._now()}, State.ACTIVE)

    def unarchive(self, *patient_ids: PatientId) -> None:
        """Bring archived patients back to their old place."""
        self._move(patient_ids, {"archived_at": None}, State.ARCHIVED)

    def merge(self, patient_id: PatientId, *, into: PatientId) -> None:
        """Merge a patient into another, who stays."""
        with self._lock:
            if self.patient(into).state is not State.ACTIVE:
                raise NoSuchPatient(f"Patient {into} is not active.")
            self._move((patient_id,), merged_into(into, self._now()), State.ACTIVE, State.ARCHIVED)

    def delete(self, *patient_ids: PatientId) -> None:
        """Delete patients: only when it happened stays to be seen."""
        with self._lock:
            for patient_id in patient_ids:
                self._change(patient_id, {"deleted_at": self._now()})

    def restore(self, *patient_ids: PatientId) -> None:
        """Bring deleted patients back as they were."""
        self._move(patient_ids, {"deleted_at": None}, State.DELETED)

    def forget(self, *patient_ids: PatientId) -> None:
        """Lose patients: they stand in no list, and nothing is known of them any more."""
        with self._lock:
            for patient_id in patient_ids:
                before = self.patient(patient_id)
                self._shelves[_LISTING[before.state]].take(before.id)

    def _move(
        self, patient_ids: tuple[PatientId, ...], changes: dict[str, Any], *allowed: State
    ) -> None:
        moved = {"updated_at": self._now()} if self.archiving_moves_updated_at else {}
        with self._lock:
            for patient_id in patient_ids:
                self._change(patient_id, moved | changes, *allowed)

    def _change(self, patient_id: PatientId, changes: dict[str, Any], *allowed: State) -> None:
        before = self.patient(patient_id)
        allowed = allowed or (State.ACTIVE, State.ARCHIVED, State.MERGED)
        if before.state not in allowed:
            raise NoSuchPatient(f"Patient {patient_id} is {before.state}.")
        self._shelves[_LISTING[before.state]].take(before.id)
        self._put(Patient.of(before.record() | changes))

    def _put(self, patient: Patient) -> None:
        self._shelves[_LISTING[patient.state]].put(patient)

    def _now(self) -> str:
        return in_utc(self._clock())

    def _settle(self, count: int, fates: dict[int, State]) -> None:
        survivor_id = ""
        for place, record in enumerate(islice(self._inventions, count)):
            then = record["updated_at"]
            match fates.get(place):
                case State.ARCHIVED:
                    record["archived_at"] = then
                case State.MERGED:
                    record |= merged_into(survivor_id, then)
                case State.DELETED:
                    record["deleted_at"] = then
                case _:
                    survivor_id = record["id"]
            self._put(Patient.of(record))
