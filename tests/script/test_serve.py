from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from config import ROOT
from script.address import Address, free_port
from tests.support.postgres_server import PostgresServer
from tests.support.processes import descendants, is_alive, wait_until

COMMAND = [sys.executable, "-m", "script.serve"]
PRODUCTION = {
    "ENV": "production",
    "SECRET_KEY": "Vq3XyZ0aKc8mRt5uWb1nHs7pLd4eGf9jTo2i",
    "CREDENTIALS_KEYS": "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
    "AUDIT_KEYS": "mUq7ZrT2xKp9LwVb4Nc8HsYd3Fg6JaE1Qo5i",
    "CLINIKO_CONTACT_EMAIL": "ops@clinic.example",
    "PUBLIC_URL": "https://patients.clinic.example",
}


def environment(folder: Path, **environ: str) -> dict[str, str]:
    """What a start finds, with an instance folder of its own."""
    return {"PATH": os.environ["PATH"], "INSTANCE_DIR": str(folder), **environ}


def serve(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A start that is refused."""
    return subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=environment(folder, **environ),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_nonsense_is_answered_with_one_sentence(tmp_path: Path) -> None:
    done = serve(tmp_path, PORT="many")
    assert done.returncode == 2
    assert done.stderr == "PORT must be a number from 1 to 65535, not 'many'.\n"


@pytest.mark.parametrize(
    ("words", "code"), [(["--port", "9000"], 2), (["9000"], 2), (["--help"], 0)]
)
def test_arguments_are_not_ignored(words: list[str], code: int) -> None:
    command = ["script/server", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    said = done.stderr if code else done.stdout
    assert said == (
        "script/server takes no arguments: settings stand in the environment, as in "
        "PORT=9000 script/server\n"
    )


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serve(tmp_path, PORT=port)
    assert done.returncode == 1
    assert port in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_second_start_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = serve(tmp_path, PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stderr == f"Patient Sync already runs with the folder {tmp_path}.\n"


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (lock := tmp_path / "server.lock").mkdir()
    done = serve(tmp_path, PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stderr == f"Patient Sync cannot go on: [Errno 21] Is a directory: '{lock}'\n"


def test_a_database_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    url = f"postgresql://127.0.0.1:{free_port()}/clinics"
    done = serve(tmp_path, PORT=str(free_port()), DATABASE_URL=url)
    assert done.returncode == 1
    assert re.fullmatch("The database cannot be used: .*Connection refused.*\n", done.stderr)
    assert "Connection refused" in (tmp_path / "log" / "database.log").read_text()


@pytest.mark.parametrize("settings", [{}, PRODUCTION], ids=["development", "production"])
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_stops_the_start(
    tmp_path: Path, postgres: PostgresServer, encoding: str, settings: dict[str, str]
) -> None:
    with postgres.encoded(encoding) as url:
        done = serve(tmp_path, **settings, PORT=str(free_port()), DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr == (
        f"The database cannot be used: its encoding is {encoding} and must be UTF8. Make it anew "
        "with createdb --encoding=UTF8 --template=template0, as the README says.\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the processes")
def test_a_first_run_shows_how_to_sign_in_and_leaves_nothing(tmp_path: Path) -> None:
    output, web = tmp_path / "output", Address("127.0.0.1", free_port())
    # Whoever asks for its health has to call it by its name.
    settings = {"PORT": str(web.port), "ALLOWED_HOSTS": ".patients.example"}
    settings["PUBLIC_URL"] = "https://patients.example"
    with (
        output.open("w") as file,
        subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=environment(tmp_path / "instance", **settings),
            stdout=file,
            stderr=file,
        ) as process,
    ):
        try:
            wait_until(lambda: "Ctrl-C" in output.read_text(), seconds=90)
            assert "Ready: https://patients.example\n" in output.read_text()
            # Before all that may break a start off: it is shown only once.
            assert "with the password" in output.read_text().partition("\nStarting ")[0]
            assert web.is_healthy(called="patients.example")
            # supervisord, Redis, the simulator, the web server with two workers, two workers, the
            # deliverer
            wait_until(lambda: len(descendants(process.pid)) == 9)
            started = descendants(process.pid)
        finally:
            process.terminate()
    assert process.returncode == 0
    assert output.read_text().endswith("Stopping\n")
    assert not any(map(is_alive, started))
    assert not web.is_healthy(called="patients.example")
