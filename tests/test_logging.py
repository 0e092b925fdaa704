"""What is logged is one JSON object a line, whatever stands in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from traceback import format_exception

import pytest
import structlog
from flask import Flask
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from tests.cast import Cast
from tests.cliniko.local_server import answer, says, serving
from tests.corpus import HOSTILE
from tests.support.databases import on_both
from webapp import queue
from webapp.extensions import db
from webapp.logging_setup import json_lines
from webapp.models import Patient
from webapp.services import deadman

MANY = 10_000


@pytest.fixture
def written(app: Flask) -> Iterator[io.StringIO]:
    """What the root logger writes, in the form of every log of ours."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(json_lines())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def test_ten_thousand_hostile_lines_stay_ten_thousand_objects(written: io.StringIO) -> None:
    ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
    texts = [HOSTILE[number % len(HOSTILE)] for number in range(MANY)]
    for number, text in enumerate(texts):
        if number % 2:
            ours.info(text, name=text)
        else:
            theirs.warning("%s", text)

    lines = [json.loads(line) for line in written.getvalue().split("\n")[:-1]]
    assert [line["event"] for line in lines] == texts
    assert {line["level"] for line in lines} == {"info", "warning"}
    for line in lines:
        assert datetime.fromisoformat(line["timestamp"]).tzname() == "UTC"
    # Neither the escapes of a terminal nor other signs that end a line somewhere.
    assert written.getvalue().replace("\n", "").isascii()
    assert written.getvalue().replace("\n", "").isprintable()


def test_an_error_keeps_to_its_line_with_its_whole_trace(written: io.StringIO) -> None:
    try:
        raise ValueError('\n{"event": "forged"}')
    except ValueError:
        logging.getLogger("theirs").exception("it failed")

    (line,) = written.getvalue().splitlines()
    assert json.loads(line)["event"] == "it failed"
    assert "Traceback" in json.loads(line)["exception"]


@on_both
def test_a_row_that_the_database_refuses_is_not_repeated(cast: Cast) -> None:
    row = {"organization_id": cast.surf.id, "cliniko_patient_id": "1", "last_name": "Canary-Bird"}
    with pytest.raises(IntegrityError) as raised:
        db.session.execute(insert(Patient).values(row | {"state": None}))
    said = "".join(format_exception(raised.value))
    assert "state" in said
    assert "canary" not in said.lower()


def test_an_answer_with_a_line_that_is_no_header_tells_the_log_no_address(
    app: Flask, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "workers_connected", lambda: 1)
    with serving(says(answer(b"", "a line of Olivia Nguyen", "X-Other: 1"))) as server:
        app.config["DEADMAN_URL"] = f"{server.url}/ping?token=typed-by-an-operator"
        assert deadman.tell()
        assert b"token=typed-by-an-operator" in server.requests[0]
    for told in ("127.0.0.1", "ping", "token", "Olivia"):
        assert told not in written.getvalue()
