"""GET /clinics"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.api.rows import hold, make_log, record, refuse, store
from tests.cast import SURF_KEY, Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.statements import asked_meanwhile
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import OperationType, Organization, SyncStatus
from webapp.services import clinic_figures, organizations
from webapp.sync import held


def test_the_root_leads_here(alice: Visitor) -> None:
    assert alice.get("/").headers["Location"] == "/clinics"


def test_an_admin_sees_every_clinic(alice: Visitor) -> None:
    words = text_of(alice.get("/clinics"))
    assert "Northside Physio au2" in words
    assert "Surf Rehab au1" in words
    assert "Clinics 2" in words
    assert "Add clinic" in words


def test_two_of_the_same_name_are_told_apart_by_their_ids(alice: Visitor, cast: Cast) -> None:
    page = alice.get("/clinics")
    assert "#" not in text_of(page)

    organizations.rename(cast.northside, "Surf Rehab")
    page = alice.get("/clinics")
    for clinic in (cast.surf, cast.northside):
        assert f"Surf Rehab #{clinic.id} {clinic.shard}" in text_of(page)
        assert Parsed(page.text).having(aria_label=f"Sync Surf Rehab #{clinic.id}")


def test_a_manager_sees_their_own_only(bob: Visitor) -> None:
    words = text_of(bob.get("/clinics"))
    assert "Surf Rehab" in words
    assert "Northside" not in words
    assert "Add clinic" not in words


def test_it_counts_patients_syncs_and_trouble(alice: Visitor, cast: Cast) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"), record(2, "Noah", "Smith"))
    make_log(cast.northside, SyncStatus.FAILED, error_code="CLINIKO_AUTH_FAILED")
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")

    words = text_of(alice.get("/clinics"))
    assert "Patients synced 2" in words
    assert "Syncing now 1" in words
    assert "Need attention 1" in words
    assert "CLINIKO_AUTH_FAILED" in words


def test_a_refused_connection_needs_attention_after_a_good_sync_too(
    alice: Visitor, cast: Cast
) -> None:
    make_log(cast.surf)
    assert "Need attention 0" in text_of(alice.get("/clinics"))
    with transaction():
        cast.surf.connection_error_code = "CLINIKO_AUTH_FAILED"
    words = text_of(alice.get("/clinics"))
    assert "Need attention 1" in words
    assert "Completed Connection failed" in words


def test_a_failed_full_sync_needs_attention_after_smaller_ones_that_completed(
    alice: Visitor, cast: Cast
) -> None:
    make_log(cast.surf, SyncStatus.FAILED, error_code="CLINIKO_UNAVAILABLE")
    make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS)
    words = text_of(alice.get("/clinics"))
    assert "Need attention 1" in words
    assert "Completed Full sync failed" in words
    make_log(cast.surf)
    assert "Need attention 0" in text_of(alice.get("/clinics"))


def test_records_that_failed_need_attention_until_they_are_stored(
    alice: Visitor, cast: Cast
) -> None:
    refuse(cast.surf, 2)
    make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS)
    words = text_of(alice.get("/clinics"))
    assert "Need attention 1" in words
    assert "Completed Records failed" in words
    store(cast.surf, record(900, "Olivia", "Nguyen"), record(901, "Noah", "Smith"), seen_at=now())
    assert "Need attention 0" in text_of(alice.get("/clinics"))


@pytest.mark.parametrize("later", [1, clinic_figures.SHOWN_SYNCS + 1])
def test_a_record_that_failed_is_not_forgotten_for_all_the_syncs_of_changes_that_follow(
    alice: Visitor, cast: Cast, later: int
) -> None:
    make_log(cast.surf)
    changed = OperationType.CHANGED_PATIENTS
    refuse(cast.surf, 1, make_log(cast.surf, records_failed=1, operation_type=changed))
    for _ in range(later):
        make_log(cast.surf, operation_type=changed)
    words = text_of(alice.get("/clinics"))
    assert "Need attention 1" in words
    assert "Completed Records failed" in words
    assert "try again" in text_of(alice.get(f"/clinics/{cast.surf.id}"))
    make_log(cast.surf)
    assert "Need attention 0" in text_of(alice.get("/clinics"))


def test_failed_records_of_a_disabled_clinic_need_nobodys_attention(
    alice: Visitor, cast: Cast
) -> None:
    refuse(cast.surf, 1)
    with transaction():
        cast.surf.disabled_at = now()
    make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS)
    words = text_of(alice.get("/clinics"))
    assert "Need attention 0" in words
    assert "Records failed" not in words


def test_many_clinics_are_asked_about_as_often_as_two(alice: Visitor, cast: Cast) -> None:
    refuse(cast.surf, 1)
    alice.get("/clinics")
    with asked_meanwhile() as of_two:
        alice.get("/clinics")
    for number in range(5):
        refuse(organizations.add(f"Clinic {number}", SURF_KEY), 1)
    alice.get("/clinics")
    with asked_meanwhile() as of_seven:
        assert "Need attention 6" in text_of(alice.get("/clinics"))
    assert len(of_seven) == len(of_two)


def test_a_disabled_clinic_needs_nobodys_attention(alice: Visitor, cast: Cast) -> None:
    make_log(cast.surf, SyncStatus.FAILED, error_code="CLINIKO_UNAVAILABLE")
    with transaction():
        cast.surf.disabled_at = now()
    assert "Need attention 0" in text_of(alice.get("/clinics"))


def test_held_removals_need_attention_until_somebody_decides(alice: Visitor, cast: Cast) -> None:
    log = hold(cast.surf, 30)
    words = text_of(alice.get("/clinics"))
    assert "Need attention 1" in words
    assert "Completed Removals held" in words
    alice.post(f"/clinics/{cast.surf.id}/syncs/{log.id}/removals/dismiss")
    words = text_of(alice.get("/clinics"))
    assert "Need attention 0" in words
    assert "Removals held" not in words


def test_removals_of_patients_who_were_seen_since_wait_for_nobody(
    alice: Visitor, cast: Cast
) -> None:
    """Their rows stay until a sync completes, but nobody is left to decide about."""
    hold(cast.surf, 30)
    seen = [record(number, "Olivia", f"Nguyen {number:03}") for number in range(1, 31)]
    store(cast.surf, *seen[1:])
    assert "Completed Removals held" in text_of(alice.get("/clinics"))
    store(cast.surf, seen[0])
    assert held.batches(cast.surf.id) == []
    words = text_of(alice.get("/clinics"))
    assert "Need attention 0" in words
    assert "Removals held" not in words


def test_a_running_sync_shows_its_percentage_and_offers_no_second(
    alice: Visitor, cast: Cast
) -> None:
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), progress={"progress_percent": 69.4})
    page = alice.get("/clinics")
    assert "Running 69%" in text_of(page)
    assert "Syncing…" in text_of(page)
    assert f'action="/clinics/{cast.surf.id}/syncs"' not in page.text


def test_the_list_looks_after_itself_only_while_something_runs(alice: Visitor, cast: Cast) -> None:
    assert "every 5s" not in alice.get("/clinics").text
    log = make_log(
        cast.surf, SyncStatus.RUNNING, started_at=now(), progress={"progress_percent": 1.0}
    )
    assert "every 5s" in alice.get("/clinics").text
    with transaction():
        log.status = SyncStatus.COMPLETED
    assert "every 5s" not in alice.get("/clinics").text


def test_it_says_when_each_was_last_synced(alice: Visitor, cast: Cast) -> None:
    make_log(cast.surf, started_at=now() - timedelta(hours=3))
    assert "2 h ago" in text_of(alice.get("/clinics"))
    assert "never" in text_of(alice.get("/clinics"))


def test_a_clinic_without_a_key_offers_to_add_one(alice: Visitor) -> None:
    organization = organizations.add("Lakeview Chiro")
    page = alice.get("/clinics")
    assert "No API key" in text_of(page)
    assert Parsed(page.text).having(href=f"/clinics/{organization.id}/settings")


def test_without_a_clinic_it_says_what_to_do(alice: Visitor, cast: Cast) -> None:
    with transaction() as session:
        for user in (cast.bob, cast.vera, cast.charlie):
            session.delete(user)
        session.flush()
        for organization in session.query(Organization):
            session.delete(organization)
    words = text_of(alice.get("/clinics"))
    assert "No clinic yet" in words
    assert "Add a clinic" in words
