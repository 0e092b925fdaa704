from __future__ import annotations

import importlib.util
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from config import ROOT
from script.embedded_redis import NoRedisServer, find_server
from tests.support.processes import open_files, wait_until
from tests.support.redis_server import RedisServer


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH, with nothing in it yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_it_prefers_the_server_of_the_machine(empty_path: Path, name: str) -> None:
    program = empty_path / name
    program.touch(mode=0o755)
    assert find_server() == str(program)


def test_it_falls_back_on_the_server_of_the_package(empty_path: Path) -> None:
    version = subprocess.run([find_server(), "--version"], capture_output=True, check=True)
    assert b"Valkey" in version.stdout


def test_it_says_what_to_do_without_a_server(
    empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NoRedisServer, match="REDIS_URL"):
        find_server()


def test_nobody_else_can_reach_it() -> None:
    with RedisServer() as server, Redis.from_url(server.url) as connection:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert connection.config_get("port")["port"] == "0"


def test_jobs_survive_a_crash() -> None:
    with RedisServer() as server:
        with Redis.from_url(server.url) as connection:
            connection.rpush("jobs", "a", "b")
        server.stop(signal.SIGKILL)
        server.start()
        with Redis.from_url(server.url) as connection:
            assert connection.lrange("jobs", 0, -1) == [b"a", b"b"]


def test_jobs_are_never_thrown_out_for_lack_of_memory() -> None:
    with RedisServer() as server, Redis.from_url(server.url) as connection:
        assert connection.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows which files are open")
def test_a_second_server_waits_until_the_first_is_gone() -> None:
    with RedisServer() as first:
        with Redis.from_url(first.url) as connection:
            connection.set("whose", "first")
        second = subprocess.Popen(first.command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: "lock" in open_files(second.pid))
            first.stop()
            wait_until(first.socket.exists)
            with Redis.from_url(first.url) as connection:
                assert connection.get("whose") == b"first"
        finally:
            second.terminate()
            second.wait()


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o755)
    socket, data = open_folder / "redis.sock", tmp_path / "instance" / "redis"
    done = subprocess.run(
        [sys.executable, "-m", "script.embedded_redis", str(socket), str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "belongs to you alone" in done.stderr
