"""Which passwords are taken, and how they are kept."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from argon2 import PasswordHasher, extract_parameters

from tests.cast import PASSWORD, Cast
from webapp.errors import ValidationError
from webapp.extensions import db, transaction
from webapp.services import passwords, people

ABOUT = ("bob.marsh@surfrehab.example", "Surf Rehab")
SHORT, LONG, GUESSED, TAKEN = "at least", "at most", "first that are guessed", ""
EMOJI = "🐎🦄🐙🍉🎈🧊🪁🛶🐞🌵🧲🪐🎲🫖🧦🧃"

TABLE = [
    # Too short, or too long to be hashed.
    ("", SHORT),
    ("short", SHORT),
    ("x7#Kq9!vLp2$Rt", SHORT),
    ("🐎" * 14, SHORT),
    ("a" * 1025, LONG),
    ("é" * 513, LONG),
    ("🐎" * 257, LONG),
    # The commonest, with what people add to make them long.
    ("passwordpassword", GUESSED),
    ("password12345678", GUESSED),
    ("Password2026!!!!", GUESSED),
    ("P@ssw0rd2026!!!!", GUESSED),
    ("p@$$w0rd p@$$w0rd1", GUESSED),
    ("MyPassword123456", GUESSED),
    ("letmeinletmein1!", GUESSED),
    ("Welcome 2026!!!!", GUESSED),
    ("welcome1welcome2", GUESSED),
    ("changeme-changeme", GUESSED),
    ("admin_admin_admin", GUESSED),
    ("Administrator2026", GUESSED),
    ("iloveyouiloveyou", GUESSED),
    ("trustno1trustno1", GUESSED),
    ("dragon monkey 1234", GUESSED),
    ("sunshine.princess", GUESSED),
    ("correct horse battery staple", GUESSED),
    ("CorrectHorseBatteryStaple1", GUESSED),
    ("thequickbrownfox", GUESSED),
    ("maytheforcebewithyou", GUESSED),
    ("congratulations1", GUESSED),
    ("physiotherapist2026", GUESSED),
    ("Rehabilitation#1", GUESSED),
    ("supercalifragilisticexpialidocious", GUESSED),
    # Walks over the keyboard.
    ("qwertyuiopasdfgh", GUESSED),
    ("1qaz2wsx3edc4rfv", GUESSED),
    ("zyxwvutsrqponmlk", GUESSED),
    ("123456789012345", GUESSED),
    ("abcdefgh12345678", GUESSED),
    ("!@#$%^&*()_+!@#$%", GUESSED),
    # The same again.
    ("aaaaaaaaaaaaaaaa", GUESSED),
    ("abababababababab", GUESSED),
    ("xk7xk7xk7xk7xk7xk7", GUESSED),
    ("mango!mango!mango!", GUESSED),
    ("aaaaaaabbbbbbbccc", GUESSED),
    # What can be known of the person, the clinic and the product.
    ("bob.marsh@surfrehab.example", GUESSED),
    ("BobMarsh-19750304", GUESSED),
    ("Surf Rehab 2026!", GUESSED),
    ("surfrehabsurfrehab", GUESSED),
    ("SurfRehabPassword", GUESSED),
    ("Patient Sync 2026", GUESSED),
    ("patientsync-bob-1", GUESSED),
    ("cliniko-surfrehab", GUESSED),
    # Good ones.
    (PASSWORD, TAKEN),
    ("Vier gelbe Enten tanzen", TAKEN),
    ("surf rehab opens at seven", TAKEN),
    ("x7#Kq9!vLp2$Rt8w", TAKEN),
    ("a1b2c3-d4e5f6-9a8b7c", TAKEN),
    ("ünïcøde mångø ßtraße", TAKEN),
    ("七匹の青い馬が月の下で静かに踊る", TAKEN),
    ("   spaces   are   fine   ", TAKEN),
    (EMOJI, TAKEN),
    (EMOJI * 8, TAKEN),
    ("".join(chr(0x1F400 + n) for n in range(128)), TAKEN),
    ("tea" + "\t\x00\x7f" + "pot under lamps", TAKEN),
]


@pytest.fixture
def quick_passwords() -> None:
    """Not here: what is shown is how slow they are."""


def test_sixty_passwords_get_what_they_deserve(hashes: list[str]) -> None:
    assert len(TABLE) >= 60
    wrong = []
    for password, expected in TABLE:
        try:
            stored = passwords.hashed(password, about=ABOUT)
            said = TAKEN if passwords.matches(password, stored) else "does not match"
        except ValidationError as error:
            said = error.message
        if (expected not in said) if expected else said:
            wrong.append((password, expected, said))
    assert wrong == []


@pytest.mark.parametrize(("length", "alone", "beside_a_code"), [(11, 0, 0), (12, 0, 1), (15, 1, 1)])
def test_beside_a_second_factor_twelve_characters_are_enough(
    hashes: list[str], length: int, alone: int, beside_a_code: int
) -> None:
    password = "x7#Kq9!vLp2$Rt8w"[:length]
    least_beside_it = passwords.MIN_LENGTH_WITH_CODE
    for least, taken in ((passwords.MIN_LENGTH, alone), (least_beside_it, beside_a_code)):
        before = len(hashes)
        with nullcontext() if taken else pytest.raises(ValidationError, match="at least"):
            passwords.hashed(password, least=least)
        assert len(hashes) - before == taken


def test_a_password_is_the_same_however_its_letters_are_composed(hashes: list[str]) -> None:
    stored = passwords.hashed("caf\u00e9 under the lighthouse \ufb01re")
    assert passwords.matches("cafe\u0301 under the lighthouse fire", stored)


def test_a_megabyte_is_refused_at_once_and_never_hashed(hashes: list[str], cast: Cast) -> None:
    began = time.perf_counter()
    for ask in (
        lambda: passwords.hashed("x" * 1_000_000),
        lambda: passwords.matches("x" * 1_000_000, "any hash"),
        lambda: people.authenticate("bob@example.com", "\u00e9" * 1_000_000),
    ):
        with pytest.raises(ValidationError, match="at most 1,024 bytes"):
            ask()
    assert time.perf_counter() - began < 5
    assert hashes == []


@pytest.mark.parametrize("known", [True, False])
def test_the_first_try_of_a_process_costs_the_same_whoever_it_is_about(
    hashes: list[str], known: bool
) -> None:
    stored = passwords.hashed_anew(PASSWORD) if known else None
    hashes.clear()
    passwords.matches("a wrong one of some length", stored)
    assert hashes == ["made", "checked"]
    passwords.matches("a wrong one of some length", stored)
    assert hashes == ["made", "checked", "checked"]


def test_hashes_are_argon2id_with_at_least_what_owasp_asks_for(cast: Cast) -> None:
    assert cast.bob.password_hash.startswith("$argon2id$v=19$")
    made_with = extract_parameters(cast.bob.password_hash)
    assert made_with.memory_cost >= 19 * 1024
    assert made_with.time_cost >= 2
    assert made_with.parallelism >= 1


def test_an_older_hash_is_replaced_when_its_owner_signs_in(cast: Cast) -> None:
    older = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)
    with transaction():
        cast.bob.password_hash = older
    epoch = cast.bob.session_epoch

    assert people.authenticate("bob@example.com", "a wrong one of some length") is None
    db.session.rollback()
    assert cast.bob.password_hash == older

    assert people.authenticate("bob@example.com", PASSWORD) is cast.bob
    db.session.rollback()
    newer = cast.bob.password_hash
    assert extract_parameters(newer) == extract_parameters(passwords.hashed(PASSWORD))
    assert cast.bob.session_epoch == epoch  # nobody is signed out by it
    assert people.authenticate("bob@example.com", PASSWORD) is cast.bob
    db.session.rollback()
    assert cast.bob.password_hash == newer


def test_of_twenty_who_sign_in_at_once_only_a_few_use_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside, most = 0, 0
    lock, go_on = threading.Lock(), threading.Event()

    class Waiting:
        def verify(self, _hash: str, _password: str) -> bool:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            go_on.wait(20)
            with lock:
                inside -= 1
            return True

    monkeypatch.setattr(passwords, "_hasher", Waiting())
    line = passwords._room._cond._waiters  # type: ignore[attr-defined]
    with ThreadPoolExecutor(20) as threads:
        answers = [threads.submit(passwords.matches, PASSWORD, "any hash") for _ in range(20)]
        deadline = time.monotonic() + 20
        while len(line) < 20 - passwords.AT_ONCE and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(line) == 20 - passwords.AT_ONCE
        go_on.set()
    assert all(answer.result() for answer in answers)
    assert most == passwords.AT_ONCE


def test_a_list_of_common_words_is_there_and_in_order() -> None:
    from webapp.services import guessable

    words, _ = guessable._common_words()
    assert sum(len(word) >= 12 for word in words) > 300
    assert all(word == word.casefold() and word.isalpha() for word in words)
