"""What changed: on the page of a sync, in a list of its own, and on the page of a patient"""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.api.rows import MORNING, make_log, record, store
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import ChangeKind, OperationType, Organization, Patient, SyncLog, SyncStatus
from webapp.sync.changes import Change, ChangeCounts
from webapp.sync.progress import Progress


def told(log: SyncLog, *changes: tuple[ChangeKind, tuple[str, ...]]) -> SyncLog:
    """The sync, with these changes in its metadata."""
    counts = ChangeCounts.of([Change("1", kind, fields) for kind, fields in changes])
    with transaction():
        row = db.session.get_one(SyncLog, log.id)
        row.progress = {**row.progress, "changes": counts.to_json()}
    return row


def path_of(log: SyncLog, more: str = "") -> str:
    return f"/clinics/{log.organization_id}/syncs/{log.id}{more}"


@pytest.fixture
def changed(cast: Cast) -> SyncLog:
    """A sync that has changed Olivia and archived Liam, and added Noah."""
    store(cast.surf, record(1, "Olivia", "Nguyen"), record(2, "Liam", "Smith"))
    return store(
        cast.surf,
        record(1, "Olivia", "Tran", email="olivia@example.com"),
        record(2, "Liam", "Smith", state=PatientState.ARCHIVED, archived_at=MORNING),
        record(3, "Noah", "Lee"),
    )


def test_a_sync_counts_what_it_has_changed(vera: Visitor, cast: Cast) -> None:
    log = told(
        make_log(cast.surf),
        (ChangeKind.ADDED, ()),
        (ChangeKind.UPDATED, ("email",)),
        (ChangeKind.UPDATED, ("email", "phones")),
    )
    page = vera.get(path_of(log))
    words = text_of(page)

    assert "What changed Added 1 Updated 2 Archived 0 Merged 0 Deleted 0 Restored 0" in words
    assert "E-mail 2 Phone numbers 1" in words
    assert "See who" not in words


def test_those_who_may_see_patients_are_led_to_them(bob: Visitor, changed: SyncLog) -> None:
    told(changed, (ChangeKind.ADDED, ()))
    links = Parsed(bob.get(path_of(changed)).text).having(href=path_of(changed, "/changes"))

    assert len(links) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (SyncStatus.RUNNING, "Nothing so far."),
        (SyncStatus.COMPLETED, "every patient that was read is here as in Cliniko already"),
        (SyncStatus.FAILED, "Nothing, before it ended."),
    ],
)
def test_a_sync_without_changes_says_so(
    status: SyncStatus, words: str, vera: Visitor, cast: Cast
) -> None:
    assert words in text_of(vera.get(path_of(make_log(cast.surf, status, started_at=now()))))


def test_a_sync_from_before_changes_were_written_down_claims_nothing(
    vera: Visitor, cast: Cast
) -> None:
    log = make_log(cast.surf, progress={"patients_found": 3})

    assert "What changed" not in text_of(vera.get(path_of(log)))


def test_the_list_names_patients_kinds_and_fields(bob: Visitor, changed: SyncLog) -> None:
    words = text_of(bob.get(path_of(changed, "/changes")))

    assert "Olivia Tran 1 Updated Last name, e-mail 2 Mar 2026, 09:30:00 UTC" in words
    assert "Liam Smith 2 Archived —" in words
    assert "Noah Lee 3 Added —" in words
    assert "1\u20133 of 3" in words


def test_the_list_can_be_of_one_kind(bob: Visitor, changed: SyncLog) -> None:
    words = text_of(bob.get(path_of(changed, "/changes?kind=archived")))

    assert "Liam Smith" in words
    assert "Noah Lee" not in words
    none = text_of(bob.get(path_of(changed, "/changes?kind=merged")))
    assert "Nobody was merged Show all changes of this sync" in none
    assert bob.get(path_of(changed, "/changes?kind=unheard-of")).status_code == 400


def test_the_list_comes_in_pages(bob: Visitor, cast: Cast) -> None:
    log = store(cast.surf, *(record(number, "A", f"B{number:03}") for number in range(1, 61)))
    path = path_of(log, "/changes")
    first = bob.get(f"{path}?kind=added")
    (following,) = Parsed(first.text).having(rel="next")

    assert "1\u201350 of 60" in text_of(first)
    assert following["href"] == f"{path}?page=2&kind=added"
    assert "51\u201360 of 60" in text_of(bob.get(f"{path}?page=2"))
    assert "Nothing on this page" in text_of(bob.get(f"{path}?page=3"))


def test_an_empty_list_says_why(bob: Visitor, cast: Cast) -> None:
    done, running = make_log(cast.surf), make_log(cast.surf, SyncStatus.RUNNING, started_at=now())

    assert "This sync changed nobody" in text_of(bob.get(path_of(done, "/changes")))
    assert "has found none yet" in text_of(bob.get(path_of(running, "/changes")))


@pytest.mark.parametrize("more", ["", "?kind=added"])
def test_changes_that_are_not_kept_are_not_denied(bob: Visitor, cast: Cast, more: str) -> None:
    log = told(make_log(cast.surf), (ChangeKind.ADDED, ()))

    words = text_of(bob.get(path_of(log, f"/changes{more}")))
    assert "Not kept any more 1 change was counted. Who that was is not told any more" in words
    assert "Nobody was merged" in text_of(bob.get(path_of(log, "/changes?kind=merged")))


def test_records_that_failed_are_not_as_in_cliniko(vera: Visitor, cast: Cast) -> None:
    log = told(make_log(cast.surf, records_failed=1))

    assert "of those who could be stored each is here" in text_of(vera.get(path_of(log)))


def test_a_patient_who_is_gone_keeps_the_id(bob: Visitor, changed: SyncLog) -> None:
    with transaction():
        db.session.delete(
            db.session.scalars(select(Patient).where(Patient.cliniko_patient_id == "3")).one()
        )

    assert "Patient 3 3 Added" in text_of(bob.get(path_of(changed, "/changes")))


def test_viewers_and_other_clinics_do_not_see_the_list(
    vera: Visitor, charlie: Visitor, cast: Cast, changed: SyncLog
) -> None:
    assert vera.get(path_of(changed, "/changes")).status_code == 403
    assert charlie.get(path_of(changed, "/changes")).status_code == 403
    theirs = f"/clinics/{cast.northside.id}/syncs/{changed.id}/changes"
    assert charlie.get(theirs).status_code == 404


def patient_path(cast: Cast, key: str) -> str:
    query = select(Patient.id).where(Patient.cliniko_patient_id == key)
    return f"/clinics/{cast.surf.id}/patients/{db.session.scalar(query)}"


def test_a_patient_has_a_history_the_newest_first(
    bob: Visitor, cast: Cast, changed: SyncLog
) -> None:
    page = bob.get(patient_path(cast, "1"))
    words = text_of(page)

    updated = f"2 Mar 2026, 09:30:00 UTC Updated Last name, e-mail #{changed.id}"
    added = f"2 Mar 2026, 09:30:00 UTC Added — #{changed.id - 1}"
    assert f"History When What Fields Sync {updated} {added}" in words
    assert Parsed(page.text).having(href=path_of(changed))


def test_a_patient_from_before_has_an_empty_history(bob: Visitor, cast: Cast) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    with transaction() as session:
        session.execute(SyncLog.metadata.tables["patient_changes"].delete())

    words = text_of(bob.get(patient_path(cast, "1")))
    assert "No change has been recorded yet." in words


def test_a_long_history_comes_in_pages(bob: Visitor, cast: Cast) -> None:
    for number in range(25):
        store(cast.surf, record(1, f"Name {number}", "Nguyen"))
    path = patient_path(cast, "1")

    assert "1\u201320 of 25" in text_of(bob.get(path))
    assert "21\u201325 of 25" in text_of(bob.get(f"{path}?page=2"))
    assert "Nothing on this page." in text_of(bob.get(f"{path}?page=9"))


def synced_once(cast: Cast) -> None:
    with transaction():
        db.session.get_one(Organization, cast.surf.id).synced_through = MORNING


def test_the_button_for_changes_is_there_once_there_is_a_copy(bob: Visitor, cast: Cast) -> None:
    path = f"/clinics/{cast.surf.id}"
    assert not Parsed(bob.get(path).text).having(id="sync-changes")
    synced_once(cast)

    (button,) = Parsed(bob.get(path).text).having(id="sync-changes")
    assert (button["name"], button["value"]) == ("operation_type", "changed_patients")


def test_the_card_of_a_sync_of_changes_claims_no_more_than_it_knows(
    vera: Visitor, cast: Cast
) -> None:
    progress = Progress(OperationType.CHANGED_PATIENTS, changed_since=MORNING).metadata()
    log = make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS, progress=progress)
    words = text_of(vera.get(f"/clinics/{cast.surf.id}"))
    assert "Sync of changes Completed" in words
    assert "Nothing has changed since 2 Mar 2026, 09:30:00 UTC" in words
    assert "Last full sync never" in words

    told(log, (ChangeKind.ADDED, ()), (ChangeKind.DELETED, ()))
    assert "2 changes since 2 Mar 2026" in text_of(vera.get(f"/clinics/{cast.surf.id}"))
    assert "are in step" not in words
