"""What is said of a patient, in each state they can be in."""

from __future__ import annotations

import pytest

from simulator import ClinikoAccount, Simulator, State
from tests.simulator.asking import KEY, Ask

DOCUMENTED = set(
    """
    id first_name last_name preferred_first_name title pronouns email date_of_birth
    patient_phone_numbers address_1 address_2 address_3 city state post_code country country_code
    gender gender_identity sex occupation emergency_contact medicare medicare_reference_number
    dva_card_number notes appointment_notes old_reference_id referral_source reminder_type
    receives_confirmation_emails accepted_privacy_policy accepted_email_marketing
    accepted_sms_marketing invoice_default_to invoice_email invoice_extra_information time_zone
    custom_fields created_at updated_at archived_at deleted_at links
    """.split()  # noqa: SIM905
)


def test_a_patient_has_every_documented_field(ask: Ask) -> None:
    for record in ask.json("/patients")["patients"]:
        assert set(record) >= DOCUMENTED


def test_ids_are_text_of_nineteen_digits(ask: Ask) -> None:
    assert all(isinstance(each, str) for each in ask.ids())
    assert {len(each) for each in ask.ids()} == {19}


def test_ids_can_be_numbers_as_in_the_documentation() -> None:
    account = ClinikoAccount.generate(
        active=3, archived=0, merged=0, deleted=1, ids_as_numbers=True, deleted_shows_id=True
    )
    account.add_key(KEY)
    with Simulator(account) as cliniko:
        ask = Ask(cliniko)
        ids = [record["id"] for record in ask.json("/patients")["patients"]]
        deleted = ask.json("/patients/deleted")["patients"][0]["id"]
        account_id = ask.json("/settings/public")["account"]["id"]
        ask.session.close()
    assert all(isinstance(each, int) and each > 2**53 for each in [*ids, deleted])
    assert account_id == 12345


def test_what_no_copy_needs_is_easy_to_find_again(ask: Ask) -> None:
    (record, *_) = ask.json("/patients")["patients"]
    sensitive = ("notes", "appointment_notes", "medicare", "dva_card_number", "emergency_contact")
    assert all("CANARY" in record[field] for field in sensitive)


def test_names_addresses_and_phones_are_as_mixed_as_in_life() -> None:
    patients = [each.record() for each in ClinikoAccount.generate().patients()]
    names = {f"{each['first_name']} {each['last_name']}" for each in patients}
    emails = [each["email"] for each in patients]
    phones = [each["patient_phone_numbers"] for each in patients]
    assert any("'" in name for name in names)
    assert any("é" in name or "ö" in name for name in names)
    assert any("王" in name for name in names)
    assert any("محمد" in name for name in names)
    assert "" in {each["first_name"] for each in patients}
    assert {"", None} <= set(emails)
    assert len(set(emails)) < len([each for each in emails if each]), "families share an address"
    assert {len(each) for each in phones} == {0, 1, 2, 3}
    types = {phone["phone_type"] for each in phones for phone in each}
    assert types == {"Mobile", "Home", "Work", "Fax", "Other"}
    assert all(
        phone["normalized_number"][-6:] == "".join(filter(str.isdigit, phone["number"]))[-6:]
        for each in phones
        for phone in each
    )


def test_a_patient_can_be_asked_for_alone(account: ClinikoAccount, ask: Ask) -> None:
    record = ask.json("/patients")["patients"][0]
    assert ask.json(f"/patients/{record['id']}") == record
    (archived, *_) = account.ids(State.ARCHIVED)
    assert ask.json(f"/patients/{archived}")["archived_at"]


def test_a_patient_who_was_deleted_or_never_was_is_not_found(
    account: ClinikoAccount, ask: Ask
) -> None:
    for patient_id in (account.ids(State.DELETED)[0], "1", "none", "1/notes", ""):
        answer = ask(f"/patients/{patient_id}")
        assert answer.status_code == 404
        assert answer.json()["message"]


def test_links_lead_back_to_where_they_were_asked_for(ask: Ask, cliniko: Simulator) -> None:
    record = ask.json("/patients")["patients"][0]
    assert record["links"]["self"] == f"{cliniko.url}/patients/{record['id']}"
    assert ask.json(record["links"]["self"].removeprefix(cliniko.url)) == record


def test_archived_patients_stand_whole_in_a_list_of_their_own(
    account: ClinikoAccount, ask: Ask
) -> None:
    page = ask.json("/patients/archived", {"per_page": 100})
    assert page["total_entries"] == len(page["patients"]) == 7 + 2
    assert {each["id"] for each in page["patients"]} == set(
        account.ids(State.ARCHIVED, State.MERGED)
    )
    assert all(each["archived_at"] and set(each) >= DOCUMENTED for each in page["patients"])


def test_a_merged_patient_names_the_one_who_stays(
    account: ClinikoAccount, ask: Ask, cliniko: Simulator
) -> None:
    listed = {each["id"]: each for each in ask.json("/patients/archived")["patients"]}
    for patient_id in account.ids(State.MERGED):
        assert listed[patient_id]["merged_at"]
        survivor = listed[patient_id]["merged_with_patient"]["links"]["self"]
        assert ask.json(survivor.removeprefix(cliniko.url))["archived_at"] is None
    assert not any("merged_at" in listed[each] for each in account.ids(State.ARCHIVED))


def test_of_a_deleted_patient_only_the_time_and_the_link_are_left(
    account: ClinikoAccount, ask: Ask, cliniko: Simulator
) -> None:
    page = ask.json("/patients/deleted")
    assert page["total_entries"] == 3
    assert all(set(each) == {"deleted_at", "links"} for each in page["patients"])
    assert {each["links"]["self"] for each in page["patients"]} == {
        f"{cliniko.url}/patients/{each}" for each in account.ids(State.DELETED)
    }
    account.deleted_shows_id = True
    assert set(ask.ids("/patients/deleted")) == set(account.ids(State.DELETED))


def test_an_answer_is_json_with_a_date(ask: Ask) -> None:
    answer = ask("/patients")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Date"].endswith(" GMT")


@pytest.mark.parametrize("path", ["/appointments", "/patient", "/", "/patients/deleted/1"])
def test_there_is_nothing_else(ask: Ask, path: str) -> None:
    assert ask(path).status_code == 404


def test_nothing_can_be_written(ask: Ask, cliniko: Simulator) -> None:
    ask("/user")
    answer = ask.session.post(
        f"{cliniko.url}/patients",
        json={"first_name": "Zoë"},
        auth=(KEY, ""),
        headers={"User-Agent": "Patient Sync (tests@example.com)"},
        timeout=10,
    )
    assert answer.status_code == 405
