"""What can happen to patients, and the truth about them afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from simulator import ClinikoAccount, State
from simulator.account import NoSuchPatient

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def account() -> ClinikoAccount:
    return ClinikoAccount.generate(active=10, archived=2, merged=1, deleted=1, clock=lambda: NOW)


def counts(account: ClinikoAccount) -> dict[State, int]:
    return {state: len(account.ids(state)) for state in State}


def test_the_demo_clinic_has_648_patients() -> None:
    account = ClinikoAccount.generate()
    assert (account.name, account.id) == ("Surf Rehab", "12345")
    assert len(account.ids()) == 648
    assert list(counts(account).values()) == [602, 36, 5, 5]


def test_the_same_seed_invents_the_same_patients() -> None:
    assert ClinikoAccount.generate(seed=3).truth() == ClinikoAccount.generate(seed=3).truth()
    assert not set(ClinikoAccount.generate(seed=3).ids()) & set(ClinikoAccount.generate().ids())


def test_a_copy_has_the_same_patients_and_a_life_of_its_own(account: ClinikoAccount) -> None:
    twin = account.copy()
    twin.add_key("invented-key-au1")
    assert (twin.truth(), account.users) == (account.truth(), [])
    there, here = twin.create(), account.create()
    assert there == here
    assert twin.truth() == account.truth()
    twin.delete(there)
    assert account.patient(here).state is State.ACTIVE


def test_everything_invented_lies_in_the_past(account: ClinikoAccount) -> None:
    fields = ("created_at", "updated_at", "archived_at", "deleted_at")
    times = [getattr(each, field) for each in account.patients() for field in fields]
    assert max(times) < "2025"
    assert all(each.created_at <= each.updated_at for each in account.patients())


def test_a_created_patient_has_the_newest_id_unless_said(account: ClinikoAccount) -> None:
    before = account.ids()
    new = account.create(first_name="Kirra", notes="none")
    assert int(new) > int(before[-1])
    record = account.patient(new).record()
    assert (record["first_name"], record["notes"]) == ("Kirra", "none")
    assert record["created_at"] == record["updated_at"] == "2030-01-01T00:00:00Z"
    account.create(id=5)
    assert account.ids()[0] == "5"
    assert account.patient(5).record()["links"]["self"].endswith("/patients/5")


def test_editing_moves_updated_at(account: ClinikoAccount) -> None:
    patient_id = account.ids(State.ACTIVE)[0]
    account.edit(patient_id, email="new@example.com")
    record = account.patient(patient_id).record()
    assert (record["email"], record["updated_at"]) == ("new@example.com", "2030-01-01T00:00:00Z")


@pytest.mark.parametrize("value", [None, 7, "x" * 300, "\x00", "\ud800", ["a"], {"b": 1.5}])
def test_a_field_can_be_edited_to_anything(account: ClinikoAccount, value: object) -> None:
    patient_id = account.ids(State.ACTIVE)[0]
    account.edit(patient_id, first_name=value)
    assert account.patient(patient_id).record()["first_name"] == value


def test_archiving_and_back(account: ClinikoAccount) -> None:
    patient_id = account.ids(State.ACTIVE)[0]
    account.archive(patient_id)
    archived = account.patient(patient_id)
    assert (archived.state, archived.archived_at) == (State.ARCHIVED, "2030-01-01T00:00:00Z")
    assert archived.updated_at == "2030-01-01T00:00:00Z"
    account.unarchive(patient_id)
    assert account.patient(patient_id).state is State.ACTIVE
    assert account.patient(patient_id).record()["archived_at"] is None


def test_archiving_can_leave_updated_at_alone(account: ClinikoAccount) -> None:
    account.archiving_moves_updated_at = False
    survivor, *others = account.ids(State.ACTIVE)
    before = {each: account.patient(each).updated_at for each in others[:3]}
    account.archive(*others[:2])
    account.unarchive(others[0])
    account.merge(others[2], into=survivor)
    assert {each: account.patient(each).updated_at for each in others[:3]} == before


def test_merging_leaves_one_and_archives_the_other(account: ClinikoAccount) -> None:
    survivor, other, *_ = account.ids(State.ACTIVE)
    account.merge(other, into=survivor)
    record = account.patient(other).record()
    assert account.patient(other).state is State.MERGED
    assert record["archived_at"] == record["merged_at"] == "2030-01-01T00:00:00Z"
    assert record["merged_with_patient"]["links"]["self"].endswith(f"/patients/{survivor}")
    assert account.patient(survivor).state is State.ACTIVE


def test_deleting_works_from_any_living_state(account: ClinikoAccount) -> None:
    account.delete(*account.ids(State.ACTIVE, State.ARCHIVED, State.MERGED))
    assert counts(account)[State.DELETED] == 14


def test_who_was_deleted_can_be_restored(account: ClinikoAccount) -> None:
    before = counts(account)
    gone = account.ids(State.ACTIVE, State.ARCHIVED, State.MERGED)
    account.delete(*gone)
    account.restore(*gone)
    assert counts(account) == before


def test_who_is_forgotten_never_was(account: ClinikoAccount) -> None:
    somebody = account.ids(State.ACTIVE)[0]
    account.forget(somebody)
    with pytest.raises(NoSuchPatient):
        account.patient(somebody)
    assert somebody not in account.truth()


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("archive", State.ARCHIVED),
        ("archive", State.DELETED),
        ("unarchive", State.ACTIVE),
        ("unarchive", State.MERGED),
        ("delete", State.DELETED),
        ("edit", State.DELETED),
    ],
)
def test_it_refuses_what_cannot_happen(account: ClinikoAccount, verb: str, state: State) -> None:
    before = account.truth()
    with pytest.raises(NoSuchPatient, match=str(state)):
        getattr(account, verb)(account.ids(state)[0])
    with pytest.raises(NoSuchPatient):
        getattr(account, verb)("1")
    assert account.truth() == before


def test_it_refuses_to_merge_into_somebody_who_is_gone(account: ClinikoAccount) -> None:
    patient_id = account.ids(State.ACTIVE)[0]
    with pytest.raises(NoSuchPatient):
        account.merge(patient_id, into=account.ids(State.DELETED)[0])
    assert account.patient(patient_id).state is State.ACTIVE


def test_the_truth_holds_every_patient_with_state_and_record(account: ClinikoAccount) -> None:
    truth = account.truth()
    assert set(truth) == set(account.ids())
    for patient_id, (state, record) in truth.items():
        assert state is account.patient(patient_id).state
        assert record["id"] == patient_id


def test_threads_change_patients_without_losing_any() -> None:
    account = ClinikoAccount.generate(active=200, archived=0, merged=0, deleted=0)
    ids = account.ids()

    def there_and_back(patient_id: str) -> None:
        account.archive(patient_id)
        account.create()
        account.unarchive(patient_id)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(there_and_back, ids))
    assert len(account.ids(State.ACTIVE)) == 400
    assert len(account.ids()) == 400


def test_time_is_whole_seconds_of_utc(account: ClinikoAccount) -> None:
    moments = iter([NOW + timedelta(seconds=1.9)])
    late = ClinikoAccount(clock=lambda: next(moments))
    assert late.patient(late.create()).created_at == "2030-01-01T00:00:01Z"
