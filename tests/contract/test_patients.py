"""Rules 18 to 21: the synced patients."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.contract.envelope import refused
from tests.support.running_system import Clinic, RunningSystem


def page(clinic: Clinic, **query: Any) -> dict[str, Any]:
    answer = clinic.manager.get(f"/cliniko/active-patients/{clinic.id}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(clinic: Clinic, **query: Any) -> list[str]:
    return [patient["cliniko_patient_id"] for patient in page(clinic, **query)["patients"]]


@pytest.fixture
def clinic(system: RunningSystem) -> Clinic:
    """Without a patient; a test makes those it needs."""
    return system.clinic(active=0, archived=0, merged=0, deleted=0)


def phone(number: str, kind: str = "Mobile") -> dict[str, str]:
    return {"number": number, "normalized_number": number, "phone_type": kind}


@pytest.mark.rule(18)
def test_without_a_state_the_active_ones_are_listed(clinic: Clinic) -> None:
    ada, bea, cyd, dot = (
        clinic.account.create(first_name=name, last_name="Lind")
        for name in ("Ada", "Bea", "Cyd", "Dot")
    )
    clinic.account.archive(bea)
    clinic.account.merge(cyd, into=ada)
    clinic.synced()

    assert ids(clinic) == [ada, dot]
    assert ids(clinic, state="archived") == [bea]
    assert ids(clinic, state="merged") == [cyd]
    assert page(clinic, state="merged")["patients"][0]["merged_into"] == ada
    assert ids(clinic, state="all") == [ada, bea, cyd, dot]
    assert {each["sync_status"] for each in page(clinic)["patients"]} == {"success"}


@pytest.mark.rule(18)
def test_a_version_that_cannot_be_stored_is_told_and_the_older_one_stays(
    system: RunningSystem, clinic: Clinic
) -> None:
    ada = clinic.account.create(first_name="Ada", last_name="Lind", date_of_birth="1985-03-15")
    clinic.account.create(first_name="Bea", last_name="Lind")
    # The first sync fails after the active patients were stored, so another may follow at once.
    system.simulator.faults.add(
        "status", account=clinic.account.id, on="/patients", query="updated_at", status=403
    )
    clinic.synced()
    clinic.account.edit(ada, date_of_birth="soon")
    clinic.synced()

    shown, other = page(clinic)["patients"]
    assert (shown["sync_status"], shown["date_of_birth"]) == ("failed", "1985-03-15")
    assert other["sync_status"] == "success"


@pytest.mark.rule(19)
def test_a_search_finds_by_words_and_by_numbers(clinic: Clinic) -> None:
    john = clinic.account.create(
        first_name="Jöhn",
        last_name="O'Neil",
        email="john.100%@example.com",
        patient_phone_numbers=[phone("0412 345 678")],
    )
    clinic.account.create(first_name="Ada", last_name="Lind", email="ada@example.com")
    clinic.synced()

    for search in ("john", "NEIL john", "o'ne", "100%@", "0412 345", "+61412345678", "5678"):
        assert ids(clinic, search=search) == [john], search
    for search in ("O\u02bcNeil", "Neil - <john.100%@example.com>", "\u202a+61 412\u2011345\u202c"):
        assert ids(clinic, search=search) == [john], search
    for search in ("%", "_", "john ada", "567", "' OR 1=1--"):
        expected = [john] if search == "%" else []
        assert ids(clinic, search=search) == expected, search


@pytest.mark.rule(20)
def test_synced_after_means_strictly_later(clinic: Clinic) -> None:
    ada = clinic.account.create(first_name="Ada", last_name="Lind")
    clinic.synced()
    text = page(clinic)["patients"][0]["last_synced"]
    moment = datetime.fromisoformat(text)

    assert ids(clinic, last_synced_after=(moment - timedelta(seconds=1)).isoformat()) == [ada]
    assert ids(clinic, last_synced_after=(moment + timedelta(seconds=1)).isoformat()) == []
    assert ids(clinic, last_synced_after=f"{moment - timedelta(seconds=2):%Y-%m-%dT%H:%M:%S}")
    path = f"/cliniko/active-patients/{clinic.id}?last_synced_after="
    with_space = f"{moment + timedelta(hours=10, seconds=-2):%Y-%m-%dT%H:%M:%S} 10:00"
    assert clinic.manager.get(path + with_space).json()["pagination"]["total"] == 1
    assert ids(clinic, changed_after=f"{moment - timedelta(days=1):%Y-%m-%d}") == [ada]
    for odd in ("yesterday", "2024-13-01", "1705312800", ""):
        refused(clinic.manager.get(path + odd), 400, "VALIDATION_ERROR")


@pytest.mark.rule(21)
def test_pages_in_a_stable_order_neither_repeat_nor_drop_anybody(clinic: Clinic) -> None:
    names = [("Zoe", "Abel"), ("Ann", "Zorn"), ("Ann", "ábel"), ("Ann", "Zorn"), ("Bo", "Van")]
    made = [clinic.account.create(first_name=first, last_name=last) for first, last in names]
    clinic.synced()

    ordered = [made[2], made[0], made[4], made[1], made[3]]
    assert ids(clinic) == ordered
    pages = [page(clinic, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [p["cliniko_patient_id"] for each in pages for p in each["patients"]] == ordered
    assert [each["pagination"]["has_next"] for each in pages] == [True, True, False]
    assert page(clinic, limit=9999)["pagination"]["limit"] == 500


@pytest.mark.rule(21)
def test_whoever_copies_all_patients_reads_them_by_id(clinic: Clinic) -> None:
    names = [("Zoe", "Abel"), ("Ann", "Zorn"), ("Ann", "\u00e1bel"), ("Ann", "Zorn"), ("Bo", "Van")]
    made = [clinic.account.create(first_name=first, last_name=last) for first, last in names]
    clinic.account.archive(made[1])
    clinic.synced()

    pages: list[dict[str, Any]] = []
    after_id = 0
    while not pages or pages[-1]["pagination"]["has_next"]:
        pages.append(page(clinic, state="all", limit=2, after_id=after_id))
        after_id = pages[-1]["patients"][-1]["id"]

    copied = [each for each_page in pages for each in each_page["patients"]]
    assert sorted(each["cliniko_patient_id"] for each in copied) == sorted(made)
    assert [each["id"] for each in copied] == sorted(each["id"] for each in copied)
    assert {each["pagination"]["total"] for each in pages} == {5}
    path = f"/cliniko/active-patients/{clinic.id}?after_id=0&offset=0"
    refused(clinic.manager.get(path), 400, "VALIDATION_ERROR")


@pytest.mark.rule(21)
def test_the_phone_is_a_mobile_one_if_there_is_one(clinic: Clinic) -> None:
    numbers = {
        "Ada": [phone("02 1", "Home"), phone("0412 2", "Mobile")],
        "Bea": [phone("02 3", "Fax"), phone("02 4", "Work")],
    }
    for name, phones in numbers.items():
        clinic.account.create(first_name=name, last_name="Lind", patient_phone_numbers=phones)
    clinic.synced()

    patients = page(clinic)["patients"]
    assert [each["phone"] for each in patients] == ["0412 2", "02 4"]
    assert [len(each["phones"]) for each in patients] == [2, 2]
