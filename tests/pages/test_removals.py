"""GET /clinics/<id>/syncs/<id>/removals, POST …/confirm and …/dismiss"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from tests.api.rows import ended, hold, make_log, record, store
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import HeldRemoval, Patient, SyncLog, SyncStatus
from webapp.services import counts

COUNT = 60


@pytest.fixture
def log(cast: Cast) -> SyncLog:
    return hold(cast.surf, COUNT)


@pytest.fixture
def clinic(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}"


@pytest.fixture
def path(clinic: str, log: SyncLog) -> str:
    return f"{clinic}/syncs/{log.id}/removals"


def deleted(cast: Cast) -> int:
    db.session.rollback()  # what this test has read until now is old
    return counts.by_state(cast.surf)[PatientState.DELETED]


def test_the_page_of_the_clinic_says_so_to_everybody(
    alice: Visitor, bob: Visitor, vera: Visitor, clinic: str, path: str
) -> None:
    for visitor, end in [
        (alice, "Look in Cliniko, then decide; the next full sync asks again. See who they are ."),
        (bob, "An admin can decide; the next full sync asks again. See who they are ."),
        (vera, "An admin can decide; the next full sync asks again."),
    ]:
        words = text_of(visitor.get(clinic))
        assert "60 patients seem to be gone from Cliniko, more than is likely" in words
        assert end in words
    assert "See who they are" not in text_of(vera.get(clinic))
    assert "All 0 patients are in step" not in text_of(vera.get(clinic))


def test_only_an_admin_is_offered_what_only_an_admin_may(
    alice: Visitor, bob: Visitor, vera: Visitor, clinic: str, path: str
) -> None:
    for page in (clinic, path, path.removesuffix("/removals")):
        assert f'action="{path}/confirm"' in alice.get(page).text
        assert f'action="{path}/dismiss"' in alice.get(page).text
        for visitor in (bob, vera):
            assert f"{path}/" not in visitor.get(page).text


def test_it_asks_before_anybody_is_marked(alice: Visitor, clinic: str, path: str) -> None:
    page = Parsed(alice.get(clinic).text)
    (dialog,) = page.having(id="mark-removals")
    assert "popover" in dialog  # closed until its button is pressed, also without JavaScript
    assert dialog["aria-labelledby"] == "mark-removals-question"
    assert page.having(popovertarget="mark-removals")
    assert "Mark 60 patients deleted?" in page.text


def test_confirmed_ones_are_marked_and_the_card_says_so(
    alice: Visitor, clinic: str, path: str, cast: Cast
) -> None:
    answer = alice.post_fragment(f"{path}/confirm")

    assert deleted(cast) == COUNT
    assert answer.headers["HX-Trigger"] == "sync-changed"
    (card,) = Parsed(answer.text).having(id="sync-card")
    assert str(card["data-announce"]).endswith("completed, removals confirmed")
    assert "60 patients seemed to be gone from Cliniko. An admin confirmed it" in text_of(answer)
    assert "Mark them deleted" not in text_of(answer)
    assert "60 patients were marked deleted." in text_of(alice.get(clinic))
    assert "An admin confirmed on" in text_of(alice.get(path))


@pytest.mark.parametrize(
    ("again", "words"),
    [
        (35, "; 25 of them were still held and were marked deleted."),
        (59, "; 1 of them was still held and was marked deleted."),
        (60, "; none of them was still held, so none was marked deleted."),
    ],
)
def test_the_card_says_how_many_were_marked_where_some_were_seen_again(
    alice: Visitor, clinic: str, path: str, cast: Cast, again: int, words: str
) -> None:
    log_id = int(path.split("/")[-2])
    numbers = range(1, again + 1)
    failed = make_log(cast.surf, SyncStatus.FAILED, started_at=now()).id
    with transaction():
        seen = Patient.cliniko_patient_id.in_([str(number) for number in numbers])
        db.session.execute(update(Patient).where(seen).values(last_sync_id=failed))
    alice.post(f"{path}/confirm")

    assert deleted(cast) == COUNT - again
    told = text_of(alice.get(f"{clinic}/syncs/{log_id}"))
    assert "60 patients seemed to be gone from Cliniko. An admin confirmed it on" in told
    assert words in told
    assert "so they were marked" not in told


def test_of_a_decision_of_an_earlier_release_it_tells_no_number(
    alice: Visitor, clinic: str, path: str, cast: Cast
) -> None:
    alice.post(f"{path}/confirm")
    log = db.session.get_one(SyncLog, int(path.split("/")[-2]))
    db.session.rollback()
    with transaction():
        told = log.progress.copy()
        del told["removals_marked"]
        log.progress = told

    words = text_of(alice.get(clinic))
    assert ", so those that were still held were marked deleted." in words


def test_dismissed_ones_are_kept_and_the_card_says_so(
    alice: Visitor, path: str, cast: Cast
) -> None:
    answer = alice.post_fragment(f"{path}/dismiss")

    assert deleted(cast) == 0
    assert "An admin decided on" in text_of(answer)
    assert "Keep them" not in text_of(answer)
    words = text_of(alice.get(path))
    assert "Kept" in words
    assert "No sync marks them deleted" in words


def test_the_kept_ones_can_be_marked_after_all(alice: Visitor, path: str, cast: Cast) -> None:
    alice.post(f"{path}/dismiss")
    assert "Mark them deleted after all" in text_of(alice.get(path))
    assert f"{path}/dismiss" not in alice.get(path).text

    alice.post(f"{path}/confirm")
    assert deleted(cast) == COUNT


@pytest.mark.parametrize(
    ("verb", "done"),
    [
        ("confirm", "60 patients were marked deleted."),
        ("dismiss", "60 patients were kept."),
    ],
)
def test_without_javascript_it_leads_to_the_page_of_the_clinic(
    alice: Visitor, clinic: str, path: str, verb: str, done: str
) -> None:
    answer = alice.post(f"{path}/{verb}")
    assert (answer.status_code, answer.headers["Location"]) == (303, clinic)
    assert done in text_of(alice.get(clinic))


def test_a_form_of_another_site_decides_nothing(alice: Visitor, path: str, cast: Cast) -> None:
    assert alice.client.post(f"{path}/confirm").status_code == 400
    assert deleted(cast) == 0


def test_a_second_press_is_answered_like_the_first(alice: Visitor, path: str) -> None:
    alice.post_fragment(f"{path}/confirm")
    answer = alice.post_fragment(f"{path}/confirm")
    assert answer.status_code == 200
    assert "An admin confirmed it" in text_of(answer)


@pytest.mark.parametrize("verb", ["confirm", "dismiss"])
def test_while_a_sync_runs_nothing_is_decided(
    alice: Visitor, clinic: str, path: str, cast: Cast, verb: str
) -> None:
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now())

    assert "Mark them deleted" not in text_of(alice.get(clinic))
    assert "Mark them deleted" not in text_of(alice.get(path))
    assert "A sync is running and asks Cliniko again" in text_of(alice.get(path))
    answer = alice.post_fragment(f"{path}/{verb}")
    assert answer.headers["HX-Trigger"] == "sync-changed"
    told = "A sync of this clinic is running and asks Cliniko again. Nothing was changed"
    assert told in text_of(alice.get(clinic))
    alice.post(f"{path}/{verb}")
    assert told in text_of(alice.get(clinic))
    assert deleted(cast) == 0


def test_an_old_page_decides_nothing_about_a_newer_list(
    alice: Visitor, clinic: str, path: str, cast: Cast
) -> None:
    hold(cast.surf, 30)

    answer = alice.post_fragment(f"{path}/confirm")

    assert answer.headers["HX-Trigger"] == "sync-changed"
    assert "a later sync has looked again. Nothing was changed." in text_of(alice.get(clinic))
    assert "A later sync has looked again" in text_of(alice.get(path))
    assert deleted(cast) == 0


def test_an_old_page_says_that_they_were_confirmed_meanwhile(
    alice: Visitor, clinic: str, path: str, cast: Cast
) -> None:
    alice.post(f"{path}/confirm")
    alice.get(clinic)  # which told of it

    answer = alice.post_fragment(f"{path}/dismiss")

    assert answer.headers["HX-Trigger"] == "sync-changed"
    words = text_of(alice.get(clinic))
    assert "an admin has confirmed meanwhile that they are gone" in words
    assert "a later sync has looked again" not in words
    assert deleted(cast) == COUNT


def test_the_notice_stays_when_a_later_sync_has_failed(
    alice: Visitor, clinic: str, path: str, cast: Cast
) -> None:
    make_log(cast.surf, SyncStatus.FAILED, error_code="CLINIKO_FORBIDDEN", error_message="Ask.")
    page = alice.get(clinic)
    assert "60 patients seem to be gone" in text_of(page)
    assert f'action="{path}/confirm"' in page.text


def test_a_later_sync_says_who_is_kept_and_by_which_decision(
    alice: Visitor, clinic: str, path: str, log: SyncLog, cast: Cast
) -> None:
    log_id = log.id
    alice.post(f"{path}/dismiss")
    ended(cast.surf, removals_kept=COUNT)

    page = alice.get(clinic)
    assert (
        "60 patients are gone from Cliniko and kept here, as an admin decided after sync "
        f"#{log_id} . See who they are ." in text_of(page)
    )
    assert f'href="{path}"' in page.text


def test_the_list_names_each_and_since_when(bob: Visitor, clinic: str, path: str) -> None:
    page = bob.get(path)
    assert (
        "Olivia Nguyen 001 1 1 Mar 2026, 09:30:00 UTC 2 Mar 2026, 09:30:00 UTC "
        "Olivia Nguyen 002 2" in text_of(page)
    )
    link = f'<a href="{clinic}/patients/1"><bdi>Olivia Nguyen 001</bdi></a>'
    assert link in page.text


def test_the_list_comes_in_pages(bob: Visitor, path: str) -> None:
    first = bob.get(path)
    (following,) = Parsed(first.text).having(rel="next")
    assert "1\u201350 of 60" in text_of(first)
    assert following["href"] == f"{path}?page=2"
    second = text_of(bob.get(f"{path}?page=2"))
    assert "51\u201360 of 60" in second
    assert "Nguyen 060" in second
    assert "Nothing on this page" in text_of(bob.get(f"{path}?page=3"))


def test_a_time_that_means_nothing_leaves_the_list_readable(
    bob: Visitor, path: str, cast: Cast
) -> None:
    with transaction() as session:
        cast.surf.time_zone = "America/New_York"
        session.execute(update(HeldRemoval).values(deleted_at=datetime(1, 1, 1, tzinfo=UTC)))
    assert "Olivia Nguyen 001 1 1 Jan 0001, 00:00:00 UTC" in text_of(bob.get(path))


def test_who_is_read_again_leaves_the_list(bob: Visitor, path: str, cast: Cast) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen 001"), seen_at=now())
    words = text_of(bob.get(path))
    assert "of 59" in words
    assert "Nguyen 001" not in words


def test_a_sync_that_held_nobody_says_so(bob: Visitor, clinic: str, cast: Cast) -> None:
    log = make_log(cast.surf)
    words = text_of(bob.get(f"{clinic}/syncs/{log.id}/removals"))
    assert "Nobody is held This sync did not hold back the removal of anybody." in words


def test_one_patient_is_not_told_as_many(alice: Visitor, clinic: str, cast: Cast) -> None:
    log = hold(cast.surf, 1)
    words = text_of(alice.get(clinic))
    assert "1 patient seems to be gone" in words
    assert "Mark 1 patient deleted?" in words
    alice.post(f"{clinic}/syncs/{log.id}/removals/confirm")
    assert "1 patient was marked deleted." in text_of(alice.get(clinic))


def test_a_name_that_is_code_stays_text(bob: Visitor, clinic: str, cast: Cast) -> None:
    log = hold(cast.surf, 1)
    with transaction() as session:
        session.execute(update(Patient).values(first_name="<script>", last_name="alert(1)"))
    page = bob.get(f"{clinic}/syncs/{log.id}/removals").text
    assert "<script> alert" not in page
    assert "&lt;script&gt; alert(1)" in page
