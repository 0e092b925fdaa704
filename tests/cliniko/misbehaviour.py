"""Ways in which an answer dawdles or breaks off."""

from __future__ import annotations

import gzip

from tests.cliniko.local_server import Behaviour, Caller, answer
from tests.cliniko.stand_ins import EMPTY_PAGE

GOOD = answer(EMPTY_PAGE)
PACKED = gzip.compress(EMPTY_PAGE + b" " * 500)


def head(length: int, *headers: str) -> bytes:
    """The head of an answer that promises a body of so many bytes."""
    return answer(b"", *headers, length=length)


def drips_its_headers(caller: Caller, request: bytes) -> None:
    caller.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: x\r\n" * 60)


def drips_its_status_line(caller: Caller, request: bytes) -> None:
    caller.drip(b"HTTP/1.1 200 " + b"O" * 600)


def drips_its_body(caller: Caller, request: bytes) -> None:
    caller.say(head(1000))
    caller.drip(b" " * 1000)


def drips_a_packed_body(caller: Caller, request: bytes) -> None:
    """In which a file name comes first that does not end, so that nothing is ever unpacked."""
    caller.say(head(1010, "Content-Encoding: gzip"))
    caller.drip(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 1000)


def drips_its_chunks(caller: Caller, request: bytes) -> None:
    caller.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    caller.say(b"Transfer-Encoding: chunked\r\n\r\n")
    caller.drip(b"1\r\n \r\n" * 200)


def falls_silent_at_once(caller: Caller, request: bytes) -> None:
    caller.fall_silent()


def falls_silent_in_the_body(caller: Caller, request: bytes) -> None:
    caller.say(head(len(EMPTY_PAGE)) + EMPTY_PAGE[:10])
    caller.fall_silent()


SLOW: list[Behaviour] = [
    drips_its_status_line,
    drips_its_headers,
    drips_its_body,
    drips_a_packed_body,
    drips_its_chunks,
    falls_silent_at_once,
    falls_silent_in_the_body,
]


def refuses(caller: Caller, request: bytes) -> None:
    caller.reset()


def resets_in_the_body(caller: Caller, request: bytes) -> None:
    caller.say(GOOD[:-10])
    caller.reset()


def ends_before_its_length(caller: Caller, request: bytes) -> None:
    caller.say(GOOD[:-10])
    caller.socket.close()


def ends_a_packed_body_early(caller: Caller, request: bytes) -> None:
    caller.say(answer(PACKED, "Content-Encoding: gzip")[:-10])
    caller.socket.close()


def hangs_up(caller: Caller, request: bytes) -> None:
    caller.socket.close()


def breaks_a_chunk(caller: Caller, request: bytes) -> None:
    caller.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    caller.say(b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + EMPTY_PAGE[:16] + b"\r\nno length\r\n")
    caller.socket.close()


def speaks_another_language(caller: Caller, request: bytes) -> None:
    caller.say(b"220 mail.example ESMTP\r\n")
    caller.socket.close()


BROKEN: list[Behaviour] = [
    refuses,
    resets_in_the_body,
    ends_before_its_length,
    ends_a_packed_body_early,
    hangs_up,
    breaks_a_chunk,
    speaks_another_language,
]
