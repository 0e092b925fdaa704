"""Faults: which requests meet one, and what then comes over the wire."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from simulator import ClinikoAccount, Simulator, State
from simulator.faults import KINDS
from tests.simulator.asking import Ask

SOON = 10  # seconds: far less than a fault lasts that says nothing of its end


def statuses(ask: Ask, count: int, path: str = "/patients") -> list[int]:
    return [ask(path).status_code for _ in range(count)]


def test_it_meets_the_nth_request_and_those_after_it(cliniko: Simulator, ask: Ask) -> None:
    ask("/patients")
    cliniko.faults.add("status", on="/patients", nth=2, times=2, status=502)
    ask("/user")
    assert statuses(ask, 5) == [200, 502, 502, 200, 200]


def test_it_can_last_for_ever(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("status", times=None)
    assert statuses(ask, 4) == [500] * 4
    cliniko.faults.clear()
    assert statuses(ask, 1) == [200]


def test_it_keeps_to_its_path_and_query(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("status", on="/patients", query="id:>5", status=500)
    cliniko.faults.add("status", on="/patients/*", status=502)
    assert ask("/patients").status_code == 200
    assert ask("/patients", {"q[]": "id:>5"}).status_code == 500
    assert ask("/patients/archived").status_code == 502


def test_it_keeps_to_its_account(account: ClinikoAccount) -> None:
    other = ClinikoAccount(account_id="67890")
    other.add_key("other-au1")
    with Simulator(account, other) as cliniko:
        ask = Ask(cliniko)
        cliniko.faults.add("status", account="67890", times=None)
        assert ask("/user").status_code == 200
        assert ask("/user", key="other-au1").status_code == 500
        ask.session.close()


def test_one_request_can_meet_several(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("ignore_per_page", per_page=3)
    cliniko.faults.add("wrong_total", total=7)
    page = ask.json("/patients")
    assert (len(page["patients"]), page["total_entries"]) == (3, 7)


@pytest.mark.parametrize(
    "said", [{"kind": "explode"}, {"kind": "slow"}, {"kind": "bom", "x": 1}, {"kind": "redirect"}]
)
def test_it_refuses_a_fault_it_does_not_know(cliniko: Simulator, said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=said["kind"]):
        cliniko.faults.add(**said)
    assert list(cliniko.faults) == []


def test_trouble_of_cliniko_is_a_page_and_not_json(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("status", status=503, headers={"Retry-After": "7"})
    answer = ask("/patients")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<html>" in answer.text


def test_other_statuses_are_json(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("status", status=422, json={"errors": {"id": "no"}})
    cliniko.faults.add("status", status=403, nth=2)
    cliniko.faults.add("status", status=204, nth=3)
    assert ask("/patients").json() == {"errors": {"id": "no"}}
    assert ask("/patients").json()["message"]
    assert ask("/patients").content == b""
    assert [seen.status for seen in cliniko.requests] == [422, 403, 204]


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"reset": "1735689600000"}, "X-RateLimit-Reset", "1735689600000"),
        ({"reset": "soon"}, "X-RateLimit-Reset", "soon"),
        ({"retry_after": 3}, "Retry-After", "3"),
    ],
)
def test_it_is_told_to_wait_in_any_words(
    cliniko: Simulator, ask: Ask, options: dict[str, Any], header: str, value: str
) -> None:
    cliniko.faults.add("rate_limited", **options)
    answer = ask("/patients")
    assert (answer.status_code, answer.headers[header]) == (429, value)


def test_it_is_told_to_wait_so_long_or_is_told_nothing(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("rate_limited", reset_in_s=20)
    cliniko.faults.add("rate_limited", nth=2)
    before = time.time()
    reset = int(ask("/patients").headers["X-RateLimit-Reset"])
    assert before + 20 <= reset <= time.time() + 21
    assert not {"X-RateLimit-Reset", "Retry-After"} & set(ask("/patients").headers)


def test_it_is_sent_elsewhere(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("redirect", to="http://elsewhere.example.com/", status=307)
    answer = ask("/patients")
    assert answer.status_code == 307
    assert answer.headers["Location"] == "http://elsewhere.example.com/"


@pytest.mark.parametrize("kind", ["html_200", "empty_200", "truncated_json", "bom", "utf16"])
def test_an_answer_that_is_no_json(cliniko: Simulator, ask: Ask, kind: str) -> None:
    cliniko.faults.add(kind)
    answer = ask("/patients")
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["Content-Length"])
    with pytest.raises(ValueError):  # noqa: PT011  (JSON and Unicode errors alike)
        json.loads(answer.content.decode("utf-8"))


def test_an_answer_with_a_number_that_is_none(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("nan")
    assert '"total_entries": NaN' in ask("/patients").text


def test_an_answer_that_says_everything_twice(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("duplicate_keys")
    text = ask("/patients").text
    assert text.count('"total_entries":') == 2
    assert json.loads(text)["patients"] == []


def test_keys_go_missing_or_hold_something_else(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("missing_key", key="patients")
    cliniko.faults.add("missing_key", key="total_entries", nth=2)
    cliniko.faults.add("replaced_value", key="patients", value=None, nth=3)
    assert set(ask.json("/patients")) == {"total_entries", "links"}
    assert set(ask.json("/patients")) == {"patients", "links"}
    assert ask.json("/patients")["patients"] is None


def test_a_page_is_too_short(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("short_page", keep=2)
    page = ask.json("/patients")
    assert (len(page["patients"]), page["total_entries"]) == (2, 120)
    assert page["links"]["next"]


def test_a_link_leads_elsewhere(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("foreign_next_link", url="http://elsewhere.example.com/v1/patients?page=2")
    links = ask.json("/patients")["links"]
    assert links["next"] == "http://elsewhere.example.com/v1/patients?page=2"


def test_cliniko_does_not_listen(account: ClinikoAccount, cliniko: Simulator, ask: Ask) -> None:
    last = account.ids(State.ACTIVE)[99]
    as_it_comes = ask.ids(per_page=100)
    cliniko.faults.add("ignore_id_filter")
    assert len(ask.ids(sort="id", per_page=100, filters=[f"id:>{last}"])) == 100
    cliniko.faults.add("ignore_sort")
    assert ask.ids(sort="id", order="desc", per_page=100) == as_it_comes
    cliniko.faults.add("ignore_per_page", per_page=3)
    assert ask.ids(per_page=100) == as_it_comes[:3]
    assert len(ask.ids(sort="id", per_page=100, filters=[f"id:>{last}"])) == 20


def test_records_are_malformed(account: ClinikoAccount, cliniko: Simulator, ask: Ask) -> None:
    listed = ask.json("/patients")["patients"]
    cliniko.faults.add("replace_record", record={"id": None}, at=1)
    cliniko.faults.add("replace_record", record="\ud800", insert=True, nth=2)
    cliniko.faults.add("edit_record", fields={"date_of_birth": "0000-00-00"}, nth=3)
    assert ask.json("/patients")["patients"] == [listed[0], {"id": None}, *listed[2:]]
    assert ask.json("/patients")["patients"] == ["\ud800", *listed]
    assert ask.json("/patients")["patients"][0] == listed[0] | {"date_of_birth": "0000-00-00"}
    assert ask.json("/patients")["patients"] == listed


def test_a_body_is_far_too_big(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("big_body", megabytes=3)
    answer = ask("/patients")
    assert len(answer.content) > 3 * 1024 * 1024
    assert answer.json()["total_entries"] == 120


def test_a_small_body_becomes_big_when_unpacked(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("gzip_bomb", megabytes=8)
    answer = ask("/patients")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) < 100_000
    assert len(answer.content) > 8 * 1024 * 1024
    assert answer.json()["total_entries"] == 120


def test_faults_leave_errors_as_they_are(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("wrong_total", total=1)
    assert ask("/patients", key="wrong").status_code == 401


def test_it_is_slow(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("slow", ms=120)
    began = time.monotonic()
    assert ask("/patients").status_code == 200
    assert time.monotonic() - began >= 0.12


def test_all_answers_are_late(cliniko: Simulator, ask: Ask) -> None:
    cliniko.latency_ms = 60
    began = time.monotonic()
    ask("/patients")
    ask("/user")
    assert time.monotonic() - began >= 0.12


# Over the wire


def raw(cliniko: Simulator, path: str = "/v1/patients") -> socket.socket:
    """Return a connection on which a request was just sent."""
    address = urlsplit(cliniko.url)
    assert address.hostname
    connection = socket.create_connection((address.hostname, address.port or 0), timeout=5)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nUser-Agent: Test (a@example.com)\r\n"
        "Authorization: Basic aW52ZW50ZWQta2V5LWF1MTo=\r\n\r\n".encode()
    )
    return connection


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_the_connection_is_reset_instead_of_an_answer(cliniko: Simulator) -> None:
    cliniko.faults.add("reset_before_headers")
    with raw(cliniko) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_the_connection_is_reset_in_the_middle(cliniko: Simulator) -> None:
    cliniko.faults.add("reset_mid_body")
    with raw(cliniko) as connection, pytest.raises(ConnectionResetError):
        read_all(connection)


def test_the_connection_ends_before_the_body_does(cliniko: Simulator) -> None:
    cliniko.faults.add("short_body")
    with raw(cliniko) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
    assert 0 < len(body) < int(length.partition(b":")[2])


def test_a_chunk_is_broken(cliniko: Simulator, ask: Ask) -> None:
    cliniko.faults.add("broken_chunk")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ask("/patients")


def test_no_answer_comes(cliniko: Simulator) -> None:
    cliniko.faults.add("hang")
    with raw(cliniko) as connection:
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)


@pytest.fixture
def many_open_files() -> Iterator[None]:
    """More of them than select() can tell apart, as a long run of tests may have."""
    least = 1200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, least + 200), hard))
    with ExitStack() as files:
        for _ in range(least):
            files.enter_context(Path(os.devnull).open())
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_open_files")
def test_it_hangs_however_many_files_are_open(cliniko: Simulator) -> None:
    cliniko.faults.add("hang", seconds=0.5)
    began = time.monotonic()
    with raw(cliniko) as connection:
        assert read_all(connection) == b""
    assert time.monotonic() - began > 0.4


def test_an_answer_that_hangs_ends_after_a_while(cliniko: Simulator) -> None:
    cliniko.faults.add("hang", seconds=0.1)
    with raw(cliniko) as connection:
        assert read_all(connection) == b""


def test_the_answer_drips(cliniko: Simulator) -> None:
    cliniko.faults.add("drip", every_s=0.02, size=3)
    with raw(cliniko) as connection:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        body = received.partition(b"\r\n\r\n")[2]
        while len(body) < 9:
            piece = connection.recv(65536)
            assert len(piece) <= 3
            body += piece
    assert body.startswith(b'{"patient')


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_the_simulator_stops_at_once_whatever_is_under_way(
    account: ClinikoAccount, kind: str
) -> None:
    with Simulator(account) as cliniko:
        cliniko.faults.add(kind)
        connection = raw(cliniko)
        while not cliniko.requests:
            time.sleep(0.001)
        began = time.monotonic()
    with connection:
        read_all(connection)
    assert time.monotonic() - began < SOON


def test_the_next_connection_is_well_again(cliniko: Simulator, ask: Ask) -> None:
    for kind in ("reset_before_headers", "reset_mid_body", "short_body"):
        cliniko.faults.clear()
        cliniko.faults.add(kind)
        with pytest.raises(requests.exceptions.RequestException):
            ask("/patients")
        assert ask("/patients").status_code == 200


def test_nothing_stays_behind(account: ClinikoAccount) -> None:
    before = set(threading.enumerate())
    with Simulator(account) as cliniko:
        ask = Ask(cliniko)
        ask("/patients")
        started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(2)
    ask.session.close()
    assert len(started) == 2
    assert not any(thread.is_alive() for thread in started)


def test_it_comes_back_at_the_same_address_after_an_outage(cliniko: Simulator, ask: Ask) -> None:
    assert ask("/patients").status_code == 200
    cliniko.stop()
    with pytest.raises(requests.exceptions.ConnectionError):
        ask("/patients")
    cliniko.start()
    assert ask("/patients").status_code == 200


def test_every_kind_says_what_it_does() -> None:
    assert [kind for kind, fault in KINDS.items() if not fault.__doc__] == []
