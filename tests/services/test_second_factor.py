"""The second factor below the pages: codes, recovery codes, and what is kept of them."""

from __future__ import annotations

import hmac
from base64 import b32decode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from math import log2

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, text

from tests.cast import PASSWORD, Cast
from tests.codes import code_of, set_up
from tests.support.databases import on_both
from webapp.clock import now
from webapp.errors import AuthenticationRequired, NotFound, SecretUnreadable, ValidationError
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, RecoveryCode, SecondFactor, User
from webapp.services import invitations, people, second_factor, tokens
from webapp.services.second_factor import CodeKind

pytestmark = pytest.mark.usefixtures("clock")


OF_IT = ("second", "recovery", "person:locked", "session:closed")


def events() -> list[str]:
    """What the audit trail says of it."""
    db.session.rollback()
    found = db.session.scalars(select(AuditEvent.event).order_by(AuditEvent.id))
    return [event for event in found if event.startswith(OF_IT)]


def test_a_code_is_the_hmac_sha_1_that_all_phones_know(cast: Cast) -> None:
    key = b32decode(set_up(cast.bob).secret)
    assert len(key) * 8 == 160
    step = int(now().timestamp()) // 30
    mac = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    begins = mac[-1] & 15
    number = int.from_bytes(mac[begins : begins + 4], "big") & 0x7FFFFFFF
    assert second_factor.accept(cast.bob, f"{number % 1_000_000:06}") is CodeKind.CODE


@on_both
def test_a_code_is_taken_once(cast: Cast) -> None:
    phone = set_up(cast.bob)
    assert second_factor.accept(cast.bob, phone.code()) is CodeKind.CODE
    assert second_factor.accept(cast.bob, phone.code()) is None
    assert second_factor.accept(cast.bob, phone.code(steps=1)) is CodeKind.CODE
    assert second_factor.accept(cast.bob, phone.code()) is None  # nor is an earlier one any more


@pytest.mark.parametrize(("steps", "taken"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_clocks_may_differ_by_half_a_minute(cast: Cast, steps: int, taken: bool) -> None:
    phone = set_up(cast.bob)
    assert (second_factor.accept(cast.bob, phone.code(steps=steps)) is CodeKind.CODE) is taken


def test_a_code_may_be_typed_as_phones_show_it(cast: Cast) -> None:
    code = set_up(cast.bob).code()
    assert second_factor.accept(cast.bob, f" {code[:3]} {code[3:]} ") is CodeKind.CODE


@pytest.mark.parametrize("code", ["", "000000", "12345", "١٢٣٤٥٦", "1" * 5000, "\0", "abcd-efgh"])
def test_what_is_no_code_is_wrong(cast: Cast, code: str) -> None:
    set_up(cast.bob)
    assert second_factor.accept(cast.bob, code) is None


@on_both
def test_of_two_who_come_with_one_code_at_once_one_gets_in(app: Flask, cast: Cast) -> None:
    phone, bob_id = set_up(cast.bob), cast.bob.id

    def come(code: str) -> CodeKind | None:
        with app.app_context():
            return second_factor.accept(db.session.get_one(User, bob_id), code)

    with ThreadPoolExecutor(4) as threads:
        for code in (phone.code(), phone.recovery_codes[0]):
            kinds = list(threads.map(come, [code] * 4))
            assert len([kind for kind in kinds if kind is not None]) == 1


@on_both
def test_ten_recovery_codes_work_once_each_however_they_are_typed(cast: Cast) -> None:
    phone = set_up(cast.bob)
    assert len(set(phone.recovery_codes)) == 10
    for number, code in enumerate(phone.recovery_codes):
        typed = code.upper().replace("-", " ") if number % 2 else code
        assert second_factor.accept(cast.bob, typed) is CodeKind.RECOVERY_CODE
        assert second_factor.accept(cast.bob, code) is None
        assert second_factor.recovery_codes_left(cast.bob) == 9 - number


def test_a_recovery_code_has_112_bits_at_least(cast: Cast) -> None:
    """So that a quick hash of it is enough."""
    letters = len(second_factor._LETTERS)
    for code in set_up(cast.bob).recovery_codes:
        plain = code.replace("-", "")
        assert set(plain) <= set(second_factor._LETTERS)
        assert len(plain) * log2(letters) >= 112


def test_new_recovery_codes_end_the_earlier_ones(cast: Cast) -> None:
    phone = set_up(cast.bob)
    newer = second_factor.new_recovery_codes(cast.bob)
    assert second_factor.accept(cast.bob, phone.recovery_codes[0]) is None
    assert second_factor.accept(cast.bob, newer[0]) is CodeKind.RECOVERY_CODE


def test_what_is_somebody_elses_proves_nothing(cast: Cast) -> None:
    bobs, veras = set_up(cast.bob), set_up(cast.vera)
    assert second_factor.accept(cast.vera, bobs.code()) is None
    assert second_factor.accept(cast.vera, bobs.recovery_codes[0]) is None
    assert second_factor.accept(cast.bob, veras.recovery_codes[0]) is None


def test_no_secret_and_no_recovery_code_is_stored_as_it_is(cast: Cast) -> None:
    phone = set_up(cast.bob)
    (row,) = db.session.scalars(select(SecondFactor))
    stored = [row.sealed_secret, *db.session.scalars(select(RecoveryCode.code_digest))]
    for secret in (phone.secret, *phone.recovery_codes, phone.recovery_codes[0].replace("-", "")):
        assert secret not in str(stored)


def test_a_secret_copied_to_another_person_opens_nothing(cast: Cast) -> None:
    bobs = set_up(cast.bob)
    set_up(cast.charlie)
    with transaction() as session:
        rows = {row.user_id: row for row in session.scalars(select(SecondFactor))}
        rows[cast.charlie.id].sealed_secret = rows[cast.bob.id].sealed_secret
    with pytest.raises(SecretUnreadable):
        second_factor.accept(cast.charlie, bobs.code())


def test_nothing_is_asked_for_before_the_phone_has_shown_that_it_knows(cast: Cast) -> None:
    second_factor.begin(cast.bob)
    assert cast.bob.second_factor_since is None
    with pytest.raises(ValidationError, match="code is wrong"):
        second_factor.confirm(cast.bob, "000000")
    db.session.rollback()
    assert cast.bob.second_factor_since is None
    assert second_factor.recovery_codes_left(cast.bob) == 0


def test_the_code_that_confirms_signs_nobody_in(cast: Cast) -> None:
    second_factor.begin(cast.bob)
    pending = second_factor.pending(cast.bob)
    assert pending is not None
    second_factor.confirm(cast.bob, code_of(pending.secret))
    assert second_factor.accept(cast.bob, code_of(pending.secret)) is None


def test_what_was_begun_lapses_after_a_quarter_of_an_hour(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    second_factor.begin(cast.bob)
    pending = second_factor.pending(cast.bob)
    assert pending is not None
    clock.shift(timedelta(minutes=15, seconds=1))
    assert second_factor.pending(cast.bob) is None
    with pytest.raises(NotFound):
        second_factor.confirm(cast.bob, code_of(pending.secret))


def test_beginning_again_makes_another_secret_and_none_while_one_is_in_force(cast: Cast) -> None:
    second_factor.begin(cast.bob)
    first = second_factor.pending(cast.bob)
    second_factor.begin(cast.bob)
    assert second_factor.pending(cast.bob) != first
    set_up(cast.bob)
    assert second_factor.pending(cast.bob) is None
    with pytest.raises(ValidationError, match="already"):
        second_factor.begin(cast.bob)


@on_both
def test_removing_it_ends_what_was_open_and_leaves_nothing(cast: Cast) -> None:
    set_up(cast.bob)
    token, epoch = tokens.issue(cast.bob)[0], cast.bob.session_epoch
    second_factor.remove(cast.bob, PASSWORD)
    assert cast.bob.second_factor_since is None
    assert cast.bob.session_epoch == epoch + 1
    assert db.session.scalars(select(SecondFactor)).all() == []
    assert db.session.scalars(select(RecoveryCode)).all() == []
    with pytest.raises(AuthenticationRequired):
        tokens.row_of(token)
    with pytest.raises(NotFound):
        second_factor.remove(cast.bob, PASSWORD)


def test_a_password_that_is_short_beside_it_does_not_stand_alone(cast: Cast) -> None:
    set_up(cast.bob)
    short = "x7#Kq9!vLp2$"
    people.set_password(cast.bob, short)
    with pytest.raises(ValidationError, match="15 characters first"):
        second_factor.remove(cast.bob, short)
    assert people.authenticate("bob@example.com", short) is cast.bob

    second_factor.reset(cast.bob, actor=cast.alice)
    with pytest.raises(ValidationError, match="too short"):
        people.authenticate("bob@example.com", short)
    with pytest.raises(ValidationError, match="at least 15"):
        people.set_password(cast.bob, short)


@on_both
def test_it_goes_with_its_person(cast: Cast) -> None:
    set_up(cast.vera)
    with transaction() as session:
        session.delete(session.get_one(User, cast.vera.id))
    for table in ("second_factors", "recovery_codes"):
        assert db.session.scalar(text(f"SELECT count(*) FROM {table}")) == 0


def test_everything_is_in_the_audit_trail_and_no_secret_is(cast: Cast) -> None:
    phone = set_up(cast.bob)
    second_factor.accept(cast.bob, "000000")
    second_factor.accept(cast.bob, phone.recovery_codes[0])
    second_factor.new_recovery_codes(cast.bob)
    second_factor.remove(cast.bob, PASSWORD)
    set_up(cast.bob)
    second_factor.reset(cast.bob, actor=cast.alice)
    assert events() == [
        "second_factor:set",
        "second_factor:refused",
        "recovery_code:used",
        "recovery_codes:made",
        "second_factor:removed",
        "second_factor:set",
        "second_factor:reset",
    ]
    rows = db.session.scalars(select(AuditEvent)).all()
    assert rows[-1].actor == cast.alice.email
    assert {row.subject for row in rows[-7:]} == {f"person {cast.bob.id}"}
    told = str([vars(row) for row in rows])
    assert phone.secret not in told
    assert not any(code in told for code in phone.recovery_codes)


@on_both
def test_after_a_hundred_wrong_ones_in_a_row_only_a_new_link_opens(cast: Cast) -> None:
    phone = set_up(cast.bob)
    _fail(cast.bob, 98)
    assert people.authenticate("bob@example.com", "wrong") is None
    assert people.authenticate("bob@example.com", PASSWORD) is cast.bob  # which forgets nothing yet
    assert second_factor.accept(cast.bob, "000000") is None
    assert events()[-2:] == ["second_factor:refused", "person:locked"]
    assert cast.bob.is_closed
    assert people.authenticate("bob@example.com", PASSWORD) is None
    for code in (phone.code(), phone.recovery_codes[0]):
        assert second_factor.accept(cast.bob, code) is None
    assert events()[-3:] == ["session:closed"] * 3  # and not that they were wrong
    assert cast.bob.failures_in_a_row == 100

    new = "seven surfers ate warm papayas"
    invitations.accept(invitations.renew(cast.bob), new)
    assert people.authenticate("bob@example.com", new) is cast.bob
    assert second_factor.accept(cast.bob, phone.code()) is CodeKind.CODE
    assert second_factor.accept(cast.bob, phone.recovery_codes[0]) is CodeKind.RECOVERY_CODE


def test_whoever_gets_in_has_their_failures_forgotten(cast: Cast) -> None:
    phone = set_up(cast.bob)
    _fail(cast.bob, 99)
    assert second_factor.accept(cast.bob, phone.code()) is CodeKind.CODE
    _fail(cast.vera, 99)
    assert people.authenticate("vera@example.com", PASSWORD) is cast.vera
    db.session.rollback()
    assert (cast.bob.failures_in_a_row, cast.vera.failures_in_a_row) == (0, 0)


def test_other_people_are_not_locked_with_them(cast: Cast) -> None:
    _fail(cast.bob, 100)
    assert people.authenticate("bob@example.com", PASSWORD) is None
    assert people.authenticate("vera@example.com", PASSWORD) is cast.vera


def test_a_failure_is_recorded_with_the_name_of_whoever_it_is(cast: Cast) -> None:
    people.authenticate("bob@example.com", "wrong")
    db.session.rollback()
    row = db.session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert row is not None
    assert (row.event, row.result, row.actor) == ("session:refused", "refused", None)
    assert row.subject == f"person {cast.bob.id}"
    assert row.details == {"person": "bob@example.com"}


def _fail(user: User, times: int) -> None:
    with transaction():
        user.failures_in_a_row = times
