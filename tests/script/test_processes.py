from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config import load, redis_socket
from script.processes import Program, programs, supervised, tethered
from tests.support.processes import descendants, is_alive, wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc and the tether")


class Diary:
    """What the stand-ins have noted: (event, name, process id)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def program(self, name: str) -> Program:
        stand_in = Path(__file__).with_name("stand_in.py")
        return Program(name, tethered(str(stand_in), name, str(self.path)))

    def pids(self, event: str, name: str | None = None) -> list[int]:
        return [pid for e, n, pid in self._entries() if e == event and name in (None, n)]

    def names(self, event: str) -> list[str]:
        return [name for e, name, _ in self._entries() if e == event]

    def _entries(self) -> Iterator[tuple[str, str, int]]:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                event, name, pid = line.split()
                yield event, name, int(pid)


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Path]:
    """A folder whose name a configuration file could stumble over."""
    folder = tmp_path / "in stance %d ü"
    folder.mkdir()
    yield folder
    shutil.rmtree(redis_socket(folder).parent, ignore_errors=True)


def test_they_start_in_order_and_stop_the_other_way_round(diary: Diary, instance: Path) -> None:
    chosen = [diary.program(name) for name in ("one", "two", "three")]
    with supervised(chosen, instance) as supervisord:
        wait_until(lambda: len(diary.names("started")) == 3)
    assert diary.names("stopped") == ["three", "two", "one"]
    assert supervisord.returncode == 0
    logs = {file.name for file in (instance / "log").iterdir()}
    assert logs == {"supervisord.log", "one.log", "two.log", "three.log"}


def test_copies_have_their_own_logs(diary: Diary, instance: Path) -> None:
    worker = replace(diary.program("worker"), copies=2)
    with supervised([worker], instance):
        wait_until(lambda: diary.names("started") == ["worker", "worker"])
    assert (instance / "log" / "worker-1.log").exists()
    assert (instance / "log" / "worker-2.log").exists()


def test_whatever_dies_is_started_again(diary: Diary, instance: Path) -> None:
    log = instance / "log" / "supervisord.log"
    with supervised([diary.program("worker")], instance):
        wait_until(lambda: log.exists() and "worker entered RUNNING" in log.read_text())
        os.kill(diary.pids("started")[0], signal.SIGKILL)
        wait_until(lambda: len(diary.pids("started")) == 2)


@linux
def test_killing_the_supervisor_leaves_nothing(diary: Diary, instance: Path) -> None:
    with supervised([diary.program("web"), diary.program("worker")], instance) as it:
        wait_until(lambda: len(diary.pids("started")) == 2)
        it.kill()
        wait_until(lambda: not any(map(is_alive, diary.pids("started"))))
    assert sorted(diary.names("stopped")) == ["web", "worker"]


@linux
def test_killing_the_starter_stops_everything_in_order(diary: Diary, instance: Path) -> None:
    code = f"""
from pathlib import Path
from script.processes import Program, supervised
chosen = {[diary.program(name) for name in ("two", "one")]}
with supervised(chosen, Path({str(instance)!r})) as it:
    it.wait()
"""
    with subprocess.Popen([sys.executable, "-c", code]) as starter:
        wait_until(lambda: len(diary.pids("started")) == 2)
        starter.kill()
    wait_until(lambda: not any(map(is_alive, diary.pids("started"))))
    assert diary.names("stopped") == ["one", "two"]


@linux
def test_killing_the_supervisor_ends_a_real_redis_and_gunicorn_with_its_workers(
    instance: Path,
) -> None:
    (instance / "hello.py").write_text("def app(environ, start): start('200 OK', []); return []")
    (instance / "plain.py").write_text("workers = 2")  # ours is for our own application
    web = tethered(
        *("-m", "gunicorn", "--bind=127.0.0.1:0", f"--chdir={instance}"),
        *(f"--config={instance}/plain.py", "hello:app"),
    )
    settings = replace(load({}, instance=instance), embedded_redis=True)
    chosen = [programs(settings)[0], Program("web", web)]
    with supervised(chosen, instance) as supervisord:
        # Redis, gunicorn, and the two workers of gunicorn
        wait_until(lambda: len(descendants(supervisord.pid)) == 4)
        wait_until(lambda: redis_socket(instance).exists())
        running = descendants(supervisord.pid)
        supervisord.kill()
        wait_until(lambda: not any(map(is_alive, running)))
    assert not redis_socket(instance).exists()


def test_redis_comes_first_and_who_needs_it_last(tmp_path: Path) -> None:
    settings = load({"WORKERS": "3"}, instance=tmp_path)
    chosen = programs(settings, simulator=["--port", "9999"])
    assert [(program.name, program.copies) for program in chosen] == [
        ("redis", 1),
        ("simulator", 1),
        ("web", 1),
        ("worker", 3),
        ("deliverer", 1),
    ]
    assert chosen[1].command[-4:] == ["-m", "simulator", "--port", "9999"]


def test_what_runs_elsewhere_is_not_started(tmp_path: Path) -> None:
    settings = load({"REDIS_URL": "redis://cache"}, instance=tmp_path)
    assert [program.name for program in programs(settings)] == ["web", "worker", "deliverer"]


def test_the_web_server_takes_an_ipv6_address(tmp_path: Path) -> None:
    settings = load({"HOST": "::1", "PORT": "8080"}, instance=tmp_path)
    assert "[::1]:8080" in programs(settings)[1].command
