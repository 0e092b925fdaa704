"""The end of a session: told before it comes, and nothing stays on the screen after it"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import update

from tests.api.rows import hold, record, store
from tests.browser.conftest import Live, Visitor
from tests.browser.test_every_page import assert_accessible
from tests.cast import PASSWORD
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import UserSession


@pytest.fixture
def bob(visit: Callable[..., Visitor], live: Live) -> Visitor:
    """At a patient's page, which asks for nothing by itself."""
    store(live.cast.surf, record(1, "Olivia", "Nguyen"))
    bob = visit()
    bob.page.clock.install()
    bob.sign_in(live.cast.bob)
    bob.open("/clinics/1/patients/1")
    return bob


def away(bob: Visitor, **time: int) -> None:
    """Nobody has touched anything for so long."""
    away = timedelta(**time)
    with transaction() as session:
        session.execute(
            update(UserSession).values(last_seen_at=now() - away, created_at=now() - away)
        )
    bob.page.clock.fast_forward(int(away.total_seconds() * 1000))


def test_somebody_who_is_still_there_stays(bob: Visitor) -> None:
    question = bob.page.get_by_role("alertdialog", name="Are you still there?")
    expect(question).to_be_hidden()
    away(bob, minutes=13, seconds=1)
    expect(question).to_be_visible()
    expect(bob.page.get_by_role("button", name="Stay signed in")).to_be_focused()
    assert_accessible(bob)
    bob.press("Stay signed in")
    expect(question).to_be_hidden()
    away(bob, minutes=13, seconds=1)
    expect(question).to_be_visible()
    with bob.page.expect_request(lambda request: request.method == "POST"):
        bob.page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    assert bob.complaints == []


def test_the_question_says_how_long_is_left_and_cannot_be_lost(bob: Visitor) -> None:
    question = bob.page.get_by_role("alertdialog", name="Are you still there?")
    away(bob, minutes=13, seconds=1)
    expect(question).to_contain_text("In two minutes")
    away(bob, minutes=13, seconds=45)
    expect(question).to_contain_text("In a minute")
    question.evaluate("question => question.close()")
    away(bob, minutes=14, seconds=35)
    expect(question).to_be_visible()
    expect(question).to_contain_text("In a moment")


def test_why_somebody_cannot_stay_is_said_in_the_question(bob: Visitor) -> None:
    away(bob, minutes=13, seconds=1)
    question = bob.page.get_by_role("alertdialog", name="Are you still there?")
    expect(question).to_be_visible()
    another = bob.page.context.new_page()
    another.goto(f"{bob.live.url}/account")
    another.get_by_role("button", name="Sign out everywhere else").click()
    Visitor(another, bob.live).sees("You are signed out everywhere else")
    bob.press("Stay signed in")
    expect(question).to_contain_text("open for too long")
    bob.page.route("**/account/session", lambda route: route.abort())
    bob.press("Stay signed in")
    expect(question).to_contain_text("the answer did not come back")
    expect(bob.page.locator("#toast")).to_be_hidden()
    assert_accessible(bob)


def test_the_page_of_somebody_who_is_not_leaves(bob: Visitor) -> None:
    away(bob, minutes=15, seconds=1)
    expect(bob.page).to_have_url(re.compile(r"/sign-in\?next=/clinics/1/patients/1$"))
    bob.sees("Your session has ended")
    expect(bob.page.get_by_text("Nguyen")).to_have_count(0)
    bob.page.go_back()
    expect(bob.page).to_have_url(re.compile(r"/sign-in\?next="))
    expect(bob.page.get_by_text("Nguyen")).to_have_count(0)


def test_where_the_server_is_away_nothing_stays_once_the_session_must_have_ended(
    bob: Visitor,
) -> None:
    nguyen = bob.page.get_by_text("Nguyen").filter(visible=True)
    bob.page.route("**/account/session", lambda route: route.abort())
    with bob.page.expect_event("requestfailed"):
        away(bob, minutes=14)
    assert nguyen.count()  # it may be back in time
    with bob.page.expect_event("requestfailed"):
        away(bob, minutes=1, seconds=1)
    bob.sees("Your session has ended", "Patient Sync cannot be reached just now")
    expect(nguyen).to_have_count(0)
    assert "Nguyen" not in bob.page.title()
    assert_accessible(bob)
    bob.page.unroute("**/account/session")
    away(bob, minutes=15, seconds=1)
    expect(bob.page).to_have_url(re.compile(r"/sign-in\?next=/clinics/1/patients/1$"))


def test_another_tab_that_is_in_use_answers_for_this_one(bob: Visitor) -> None:
    with bob.page.expect_response("**/account/session"):
        bob.page.clock.fast_forward(14 * 60 * 1000)
    expect(bob.page.get_by_role("alertdialog")).to_be_hidden()


def beside(alice: Visitor) -> Visitor:
    """Another tab of the same browser."""
    return Visitor(alice.page.context.new_page(), alice.live)


def look(alice: Visitor) -> None:
    """She comes back to a tab: the browser says so."""
    alice.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.fixture
def alice(visit: Callable[..., Visitor], live: Live) -> Visitor:
    """At a patient's page, as `bob`, where the browser's clock is the true one."""
    store(live.cast.surf, record(1, "Olivia", "Nguyen"))
    alice = visit()
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1/patients/1")
    return alice


def test_a_page_in_sight_leaves_as_soon_as_another_tab_signs_out(alice: Visitor) -> None:
    another = beside(alice)
    another.open("/clinics")
    another.press("Sign out")
    expect(alice.page).to_have_url(re.compile(r"/sign-in\?next=/clinics/1/patients/1$"))
    expect(alice.page.get_by_text("Nguyen")).to_have_count(0)


def test_a_page_in_sight_leaves_as_soon_as_another_tab_is_somebody_elses(
    alice: Visitor, live: Live
) -> None:
    vera = beside(alice)
    mute = "BroadcastChannel.prototype.postMessage = () => {}"
    vera.page.add_init_script(f"if (location.pathname === '/sign-in') {mute}")
    vera.open("/clinics")
    vera.press("Sign out")
    vera.sign_in(live.cast.vera)
    alice.sees(live.cast.vera.email)
    expect(alice.page.get_by_text("Nguyen")).to_have_count(0)
    assert "Nguyen" not in alice.page.title()


def test_a_page_that_heard_of_nothing_leaves_when_somebody_else_comes_to_it(
    alice: Visitor, live: Live
) -> None:
    vera = beside(alice)
    vera.page.add_init_script("BroadcastChannel.prototype.postMessage = () => {}")
    vera.open("/clinics")
    vera.press("Sign out")
    vera.sign_in(live.cast.vera)
    assert alice.page.get_by_text("Nguyen").count()
    look(alice)
    alice.sees(live.cast.vera.email)
    expect(alice.page.get_by_text("Nguyen")).to_have_count(0)


def test_a_page_of_the_same_person_stays_and_its_forms_can_be_sent(
    alice: Visitor, live: Live
) -> None:
    alice.open(f"/clinics/{live.cast.surf.id}/settings")
    name = alice.page.get_by_label("Name of the clinic", exact=True)
    name.fill("Surf and Turf")
    another = beside(alice)
    another.open("/account")
    another.press("Sign out everywhere else")
    another.sees("You are signed out everywhere else")
    with alice.page.expect_response("**/account/session") as answer:
        look(alice)
    token = alice.page.locator("#main input[name=csrf_token]").first
    expect(token).to_have_value(answer.value.json()["csrf"])
    expect(name).to_have_value("Surf and Turf")
    alice.press("Save name")
    expect(alice.page.get_by_role("heading", level=1)).to_contain_text("Surf and Turf")


def test_a_server_that_hangs_is_one_that_is_away(bob: Visitor) -> None:
    nguyen = bob.page.get_by_text("Nguyen").filter(visible=True)
    bob.page.route("**/account/session", lambda route: None)
    with bob.page.expect_request("**/account/session"):
        away(bob, minutes=14, seconds=59)
    assert nguyen.count()
    bob.page.clock.fast_forward(2_000)  # it ends while the question is under way
    bob.sees("Your session has ended", "Patient Sync cannot be reached just now")
    expect(nguyen).to_have_count(0)


def test_twelve_hours_are_told_once_and_not_asked(bob: Visitor) -> None:
    bob.page.evaluate(
        """() => {
            window.told = [];
            const note = () => toast.hidden || told.push(toast.textContent.split(" you")[0]);
            new MutationObserver(note).observe(toast, { attributeFilter: ["hidden"] });
        }"""
    )
    away(bob, minutes=13, seconds=1)
    expect(bob.page.get_by_role("alertdialog")).to_be_visible()
    for left in (115, 105, 55, 45, 25):
        created = now() - timedelta(hours=12) + timedelta(seconds=left)
        with transaction() as session:
            session.execute(update(UserSession).values(created_at=created, last_seen_at=now()))
        with bob.page.expect_response("**/account/session") as answer:
            bob.page.clock.fast_forward(15_000)  # no further: the session has not ended meanwhile
        answer.value.finished()
    bob.sees("In a moment you have to sign in again")
    assert bob.page.evaluate("told") == ["In two minutes", "In a minute", "In a moment"]
    expect(bob.page.get_by_role("alertdialog")).to_be_hidden()


def test_a_live_page_leaves_and_asks_no_more(visit: Callable[..., Visitor], live: Live) -> None:
    vera = visit()
    vera.page.clock.install()
    vera.sign_in(live.cast.vera)
    vera.open("/clinics/1")
    with transaction() as session:
        session.execute(update(UserSession).values(last_seen_at=now() - timedelta(minutes=15)))
    with vera.page.expect_navigation(url=re.compile(r"/sign-in\?next=/clinics/1$")):
        vera.page.clock.fast_forward(11_000)  # a poll was due
    asked: list[str] = []
    vera.page.on("request", lambda request: asked.append(request.resource_type))
    vera.page.clock.run_for(60_000)
    vera.sees("Your session has ended")
    assert not {"fetch", "xhr"} & set(asked)


@pytest.mark.parametrize("script", [True, False])
def test_the_password_is_asked_for_before_the_form(
    visit: Callable[..., Visitor], live: Live, script: bool
) -> None:
    alice = visit(java_script_enabled=script)
    alice.sign_in(live.cast.alice)
    alice.open("/people")
    long_ago = now() - timedelta(hours=1)
    with transaction() as session:
        session.execute(update(UserSession).values(proved_at=long_ago))
    alice.page.get_by_label("E-mail address").fill("nina@example.com")
    alice.press("Make the link")
    alice.sees("Nothing was changed")
    if script:
        assert_accessible(alice)
    alice.page.get_by_label("Password").fill(PASSWORD)
    alice.press("Go on")
    alice.sees("Invite somebody")
    alice.page.get_by_label("E-mail address").fill("nina@example.com")
    alice.page.get_by_label("Clinic", exact=True).select_option(live.cast.surf.name)
    alice.press("Make the link")
    alice.sees("A link for nina@example.com")


def test_a_form_of_htmx_leads_to_the_question(visit: Callable[..., Visitor], live: Live) -> None:
    hold(live.cast.surf, 30)
    alice = visit()
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1")
    with transaction() as session:
        session.execute(update(UserSession).values(proved_at=now() - timedelta(hours=1)))
    alice.press("Mark them deleted")
    alice.press("Mark 30 patients deleted")
    alice.sees("Enter your password again")
    alice.page.get_by_label("Password").fill(PASSWORD)
    alice.press("Go on")
    alice.page.wait_for_url("**/clinics/1")
