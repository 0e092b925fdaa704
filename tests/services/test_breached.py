"""Passwords that were stolen elsewhere are not taken."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
from flask import Flask

from tests.cast import Cast
from webapp.errors import ValidationError
from webapp.models import Role
from webapp.services import breached, invitations, passwords, people

STOLEN = "purple otters juggle 17 lamps"
LIGATURE = "nineteen \ufb01sh swim upstream"  # which is kept as "fish"
PLAIN = "thirteen flags on one pole"
SAFE = "nine herons read old maps"


def digest_of(password: str) -> bytes:
    return hashlib.sha1(password.encode()).hexdigest().upper().encode()


def lines_of(*words: str, end: bytes = b"\r\n") -> bytes:
    """A list as it is published; counts have different lengths."""
    hashes = sorted(map(digest_of, words))
    return b"".join(each + b":%d" % 7 ** (n % 9) + end for n, each in enumerate(hashes))


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "pwned.txt"
    file.write_bytes(lines_of(STOLEN, LIGATURE, PLAIN, *map(str, range(100))))
    return environment | {"BREACHED_PASSWORDS": str(file)}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("count", [1, 2, 3, 64, 1000])
def test_what_stands_in_the_list_is_found_and_nothing_else(count: int, end: bytes) -> None:
    there = [f"there {number}" for number in range(count)]
    content = lines_of(*there, end=end)
    for text in (content, content.removesuffix(end)):  # the end of the last line may be missing
        file = io.BytesIO(text)
        for word in there:  # the first line, the last, and each between
            assert breached.stands_in(file, digest_of(word)), word
        for number in range(count):
            assert not breached.stands_in(file, digest_of(f"elsewhere {number}")), number
        for beyond in (b"0" * 40, b"F" * 40):
            assert not breached.stands_in(file, beyond)


class Published(io.BytesIO):
    """As many lines as the list has, each made when it is read."""

    LINES, LENGTH = 900_000_000, 46
    STEP = 16**40 // LINES

    def __init__(self) -> None:
        super().__init__()
        self.at = self.reads = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self.at = offset if whence == os.SEEK_SET else self.LINES * self.LENGTH
        return self.at

    def readline(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        number, into = divmod(self.at, self.LENGTH)
        line = b"%040X:123\r\n" % (number * self.STEP) if number < self.LINES else b""
        self.at += len(line[into:])
        return line[into:]


@pytest.mark.parametrize("number", [0, 1, 450_000_000, 899_999_998, 899_999_999])
def test_of_forty_gigabytes_less_than_a_hundred_lines_are_read(number: int) -> None:
    for beside, found in ((0, True), (1, False)):
        file = Published()
        assert breached.stands_in(file, b"%040X" % (number * file.STEP + beside)) is found
        assert file.reads < 100


def test_whoever_chooses_one_that_was_stolen_is_refused(cast: Cast) -> None:
    for choose in (
        lambda: people.set_password(cast.bob, STOLEN, actor=cast.bob),
        lambda: people.create("new@example.com", STOLEN, role=Role.ADMIN),
        lambda: invitations.accept(invitations.renew(cast.vera), STOLEN),
    ):
        with pytest.raises(ValidationError, match="stolen elsewhere"):
            choose()
    people.set_password(cast.bob, SAFE, actor=cast.bob)
    assert people.authenticate("bob@example.com", SAFE) is cast.bob


def test_it_is_looked_for_as_it_was_typed_and_as_it_is_kept(app: Flask) -> None:
    for password in (LIGATURE, PLAIN.replace("fl", "\ufb02")):
        with pytest.raises(ValidationError, match="stolen elsewhere"):
            passwords.hashed(password)


def test_a_list_that_is_gone_lets_no_password_pass(app: Flask, cast: Cast) -> None:
    app.config["BREACHED_PASSWORDS"].unlink()
    with pytest.raises(ValidationError, match="cannot be checked just now"):
        people.set_password(cast.bob, SAFE, actor=cast.bob)


def test_without_a_list_none_is_asked(app: Flask) -> None:
    app.config["BREACHED_PASSWORDS"] = None
    assert passwords.hashed(STOLEN)
