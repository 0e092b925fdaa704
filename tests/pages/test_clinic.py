"""GET /clinics/<id>"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.account import ClinikoAccount
from tests.api.rows import make_log, record, store
from tests.cast import Cast
from tests.pages.visitor import Visitor, text_of
from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.models import SyncStatus
from webapp.services import organizations
from webapp.sync import suspension


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}"


def test_before_the_first_sync_it_says_what_one_brings(bob: Visitor, path: str) -> None:
    words = text_of(bob.get(path))
    assert "Never synced" in words
    assert "Nothing was copied from Cliniko yet" in words
    assert "Recent syncs" not in words


def test_after_a_sync_everything_is_there(
    bob: Visitor, path: str, work: Callable[[], None], surf_account: ClinikoAccount
) -> None:
    bob.post(f"{path}/syncs")
    work()

    words = text_of(bob.get(path))
    assert "100% All 648 patients are in step" in words
    assert "Patients 648" in words
    assert "Active 602 Archived 36 Merged 5 Deleted in Cliniko 5" in words
    assert "Connected" in words
    assert f"Account {surf_account.name}" in words
    assert "Active patients there 602" in words


def test_recent_syncs_are_the_five_newest(bob: Visitor, path: str, cast: Cast) -> None:
    logs = [make_log(cast.surf) for _ in range(6)]
    words = text_of(bob.get(path))
    assert f"#{logs[5].id}" in words
    assert f"#{logs[1].id}" in words
    assert f"#{logs[0].id} " not in words


def test_without_javascript_it_refreshes_itself_only_while_a_sync_runs(
    bob: Visitor, path: str, cast: Cast
) -> None:
    refresh = (
        f'<noscript><meta http-equiv="refresh" content="10; url=\'{path}?watching=1\'"></noscript>'
    )
    assert "refresh" not in bob.get(path).text
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now())
    assert refresh in bob.get(path).text
    assert refresh in bob.get(f"{path}?watching=1").text


def test_a_clinic_without_a_key_leads_to_its_settings(alice: Visitor) -> None:
    organization = organizations.add("Lakeview Chiro")
    page = alice.get(f"/clinics/{organization.id}")
    assert "no Cliniko API key yet" in text_of(page)
    assert "Sync all patients" not in text_of(page)
    assert f'href="/clinics/{organization.id}/settings"' in page.text


def test_patients_of_every_state_are_counted(bob: Visitor, path: str, cast: Cast) -> None:
    store(
        cast.surf,
        record(1, "Olivia", "Nguyen"),
        record(2, "Noah", "Smith", state=PatientState.ARCHIVED),
        record(3, "Mia", "Tran", state=PatientState.MERGED, merged_into="1"),
    )
    assert "Active 1 Archived 1 Merged 1 Deleted in Cliniko 0" in text_of(bob.get(path))


def test_a_viewer_sees_how_the_syncs_went(vera: Visitor, path: str, cast: Cast) -> None:
    make_log(cast.surf, SyncStatus.FAILED, error_code="CLINIKO_FORBIDDEN", error_message="Ask.")
    words = text_of(vera.get(path))
    assert "Failed" in words
    assert "CLINIKO_FORBIDDEN" in words


def test_a_viewer_sees_no_part_of_the_key(bob: Visitor, vera: Visitor, path: str) -> None:
    assert "••••••••hhYg" in text_of(bob.get(path))
    assert "hhYg" not in text_of(vera.get(path))


def test_a_new_clinic_leads_to_its_first_copy_step_by_step(
    alice: Visitor, path: str, work: Callable[[], None]
) -> None:
    bare = f"/clinics/{organizations.add('Hillside').id}"
    words = text_of(alice.get(bare))
    assert "Done: Add the clinic To do: Save its Cliniko API key To do: Test the" in words

    words = text_of(alice.get(path))
    assert "Done: Save its Cliniko API key To do: Test the connection To do: Copy all" in words
    assert alice.post_fragment(f"{path}/connection").headers["HX-Trigger"] == "connection-tested"
    assert "Done: Test the connection To do: Copy all patients" in text_of(alice.get(path))

    alice.post(f"{path}/syncs")
    assert "To do: Copy all patients: it is running" in text_of(alice.get(path))
    work()
    assert "First steps" not in text_of(alice.get(path))


def test_a_disabled_clinic_is_led_to_no_button_that_is_not_there(
    alice: Visitor, cast: Cast, path: str
) -> None:
    assert "Copy all patients, with the button above" in text_of(alice.get(path))
    suspension.disable(cast.surf, actor=cast.alice)
    assert "with the button above" not in text_of(alice.get(path))


def test_who_can_only_look_is_not_asked_to_do_anything(vera: Visitor, path: str) -> None:
    assert "First steps" not in text_of(vera.get(path))
