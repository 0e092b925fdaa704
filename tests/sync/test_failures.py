"""Which clinics have failed records that are open, and which records those are."""

from __future__ import annotations

from tests.api.rows import make_log, record, refuse
from tests.cast import Cast
from tests.support.statements import asked_meanwhile, plan_of
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import OperationType, SyncStatus
from webapp.sync import failures
from webapp.sync.failures import FailedRecord
from webapp.sync.target import Target
from webapp.sync.upsert import RecordPage, store_pages

CHANGED = OperationType.CHANGED_PATIENTS


def with_some(cast: Cast) -> set[int]:
    """The clinics with open records; each is one that tells of its own, and the other way round."""
    db.session.rollback()
    ids = [cast.surf.id, cast.northside.id]
    found = failures.with_some_open(ids)
    assert found == {each for each in ids if failures.open_keys(each)}
    return found


def test_a_clinic_without_syncs_or_without_failures_has_none(cast: Cast) -> None:
    make_log(cast.surf)
    assert with_some(cast) == set()


def test_one_that_was_refused_is_open_however_many_syncs_of_changes_follow(cast: Cast) -> None:
    make_log(cast.surf)
    refuse(cast.surf, 2, make_log(cast.surf, records_failed=2, operation_type=CHANGED))
    for _ in range(20):
        make_log(cast.surf, operation_type=CHANGED)
    assert with_some(cast) == {cast.surf.id}
    assert failures.open_keys(cast.surf.id) == ["900", "901"]


def test_what_was_stored_since_is_open_no_more(cast: Cast) -> None:
    refuse(cast.surf, 2)
    refuse(cast.northside, 1)
    log = make_log(cast.surf, operation_type=OperationType.RETRY_FAILED)
    for key, left in ((900, ["901"]), (901, [])):
        with transaction():
            page = RecordPage(1, [record(key, "Olivia", "Nguyen")])
            store_pages(Target(cast.surf.id, log.id, "au1"), [page], seen_at=now())
        assert failures.open_keys(cast.surf.id) == left
        assert (cast.surf.id in with_some(cast)) == bool(left)
    assert with_some(cast) == {cast.northside.id}


def test_a_completed_sync_of_all_settles_what_was_before_it_and_no_other_does(cast: Cast) -> None:
    refuse(cast.surf, 1)
    make_log(cast.surf, SyncStatus.FAILED)
    make_log(cast.surf, operation_type=OperationType.ACTIVE_PATIENTS)
    make_log(cast.northside)
    assert with_some(cast) == {cast.surf.id}
    make_log(cast.surf)
    assert with_some(cast) == set()


def test_a_record_without_a_usable_id_cannot_be_asked_for(cast: Cast) -> None:
    log = make_log(cast.surf, records_failed=1)
    with transaction():
        nameless = [FailedRecord("page 3, record 7", "id", "is missing", page=3)]
        failures.note_failures(log.id, nameless, failed_at=now())
    assert with_some(cast) == set()


def test_they_are_found_without_reading_the_other_syncs(cast: Cast) -> None:
    """The list of clinics asks every few seconds; a schedule makes hundreds of syncs a day."""
    with asked_meanwhile() as asked:
        failures.with_some_open([cast.surf.id, cast.northside.id])

    (one,) = asked
    plan = plan_of(*one)
    assert "ix_sync_logs_with_failures" in plan
    assert "ix_sync_logs_of_all" in plan
    assert "ix_sync_logs_organization_id_id" not in plan
