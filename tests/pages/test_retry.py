"""POST /clinics/<id>/syncs for what has failed, and the buttons that lead there"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from werkzeug.test import TestResponse

from simulator.account import ClinikoAccount
from simulator.patient import State
from tests.api.rows import make_log, refuse
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.sync.logs import newest
from webapp.extensions import transaction
from webapp.models import OperationType
from webapp.sync import history, suspension


def try_again(visitor: Visitor, cast: Cast) -> TestResponse:
    return visitor.post(f"/clinics/{cast.surf.id}/syncs", operation_type="retry_failed")


def test_what_could_not_be_stored_is_tried_again_without_javascript(
    alice: Visitor,
    bob: Visitor,
    cast: Cast,
    work: Callable[[], None],
    surf_account: ClinikoAccount,
) -> None:
    overview = f"/clinics/{cast.surf.id}"
    somebody, other = surf_account.ids(State.ACTIVE)[:2]
    surf_account.edit(somebody, first_name=["a", "list"])
    surf_account.edit(other, first_name=["a", "list"])
    bob.post(f"{overview}/syncs")
    work()
    failed = f"{overview}/syncs/{newest(cast).id}"
    assert "2 records of this clinic could not be stored until now" in text_of(bob.get(failed))
    assert "Try these again" in text_of(bob.get(overview))
    for path in (overview, failed):
        assert Parsed(bob.get(path).text).having(name="operation_type", value="retry_failed")
    assert "Not stored" in text_of(bob.get(failed))

    suspension.disable(cast.surf, actor=cast.alice)
    for path in (overview, failed):  # what failed is told, and nothing is offered that is refused
        page = alice.get(path)
        assert "2 records of this clinic could not be stored until now" in text_of(page)
        assert "Try these again" not in text_of(page)
    suspension.enable(cast.surf, actor=cast.alice)

    surf_account.edit(somebody, first_name="Corrected")
    answer = try_again(bob, cast)
    assert answer.headers["Location"] == overview
    assert "Retry of failed records" in text_of(bob.get(overview))
    work()

    words = text_of(bob.get(overview))
    assert "1 of 2 records could be stored now" in words
    assert "Try this one again" in words
    words = text_of(bob.get(failed))
    assert f"{somebody} The version that is stored 1 first_name is not a text Settled" in words
    assert f"{other} 1 first_name is not a text Not stored" in words
    surf_account.edit(other, first_name="Corrected")
    try_again(bob, cast)
    work()

    words = text_of(bob.get(overview))
    assert "100% 1 of 1 record could be stored now" in words
    assert "could not be stored until now" not in words
    assert "Retry of failed records" in text_of(
        bob.get(f"{overview}/syncs?operation_type=retry_failed")
    )


def test_which_they_are_is_told_with_the_way_to_where_they_can_be_corrected(
    app: Flask, bob: Visitor, cast: Cast
) -> None:
    log = refuse(cast.surf, 12)
    overview = f"/clinics/{cast.surf.id}"
    assert "Cliniko's ids: 900, 901, 902" in text_of(bob.get(overview))
    assert "909 and 2 more" in text_of(bob.get(overview))
    assert Parsed(bob.get(overview).text).having(target="_blank") == []

    app.config["CLINIKO_API_URL"] = "https://api.{shard}.cliniko.com/v1"
    with transaction():
        cast.surf.cliniko_subdomain = "surf-rehab"
    for path, count in ((overview, 10), (f"{overview}/syncs/{log.id}", 12 + 10)):
        links = Parsed(bob.get(path).text).having(target="_blank")
        assert links[0]["href"] == "https://surf-rehab.au1.cliniko.com/patients/900"
        assert len(links) == count


def test_without_a_failed_record_nothing_is_started(bob: Visitor, cast: Cast) -> None:
    try_again(bob, cast)

    words = text_of(bob.get(f"/clinics/{cast.surf.id}"))
    assert "There is no failed record to try again." in words
    assert "Never synced" in words


def test_a_viewer_is_not_offered_it(vera: Visitor, cast: Cast) -> None:
    log = refuse(cast.surf, 3)
    for path in ("", f"/syncs/{log.id}"):
        page = vera.get(f"/clinics/{cast.surf.id}{path}")
        assert not Parsed(page.text).having(name="operation_type", value="retry_failed")
    assert try_again(vera, cast).status_code == 403


def test_while_a_sync_runs_the_running_one_is_shown(bob: Visitor, cast: Cast) -> None:
    refuse(cast.surf, 3)
    bob.post(f"/clinics/{cast.surf.id}/syncs")
    running = newest(cast)

    assert try_again(bob, cast).status_code == 303
    assert newest(cast).id == running.id
    words = text_of(bob.get(f"/clinics/{cast.surf.id}"))
    assert "A full sync is running, so the retry of failed records was not started." in words


def test_a_record_without_an_id_cannot_be_asked_for(bob: Visitor, cast: Cast) -> None:
    log = refuse(cast.surf, 1)
    with transaction():
        (failure,) = history.failures(log, limit=2, offset=0)
        failure.cliniko_patient_id = "page 3, record 7"
    words = text_of(bob.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))
    assert "Has no id" in words
    assert "again" not in words


def test_who_may_only_look_is_told_of_them_too_and_who_can_try_them_again(
    vera: Visitor, cast: Cast
) -> None:
    path = f"/clinics/{cast.surf.id}"
    assert "could not be stored until now" not in text_of(vera.get(path))
    refuse(cast.surf, 2)
    make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS)
    assert "Completed Records failed" in text_of(vera.get("/clinics"))
    page = vera.get(path)
    assert "2 records of this clinic could not be stored until now" in text_of(page)
    assert "A manager of this clinic can try them again." in text_of(page)
    assert not Parsed(page.text).having(name="operation_type", value="retry_failed")
