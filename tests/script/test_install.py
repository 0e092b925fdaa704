from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from config import ROOT
from script.install import install

SMALL = "flask==3.1.3 \\\n    --hash=sha256:aa\n"
LARGE = SMALL.replace("aa", "aa \\\n    --hash=sha256:ab") + "pytest==9.2.0 --hash=sha256:bb\n"

Run = Callable[[str], list[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Installs a file of this content and tells what was done: "venv", "pip", both or nothing."""
    done: list[str] = []

    def fake_run(command: list[object], check: bool) -> None:
        module = command[command.index("-m") + 1]
        done.append(str(module))
        if module == "venv":
            python = tmp_path / ".venv" / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        if module == "pip" and "broken" in (tmp_path / "requirements.txt").read_text():
            raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(subprocess, "run", fake_run)

    def run(content: str) -> list[str]:
        done.clear()
        (tmp_path / "requirements.txt").write_text(content)
        install(tmp_path / "requirements.txt", tmp_path / ".venv")
        return done

    return run


def test_the_first_time_everything_is_made(run: Run) -> None:
    assert run(SMALL) == ["venv", "pip"]


def test_the_next_time_nothing_is_done(run: Run) -> None:
    run(SMALL)
    assert run(SMALL) == []


def test_a_change_is_installed_into_what_is_there(run: Run) -> None:
    run(SMALL)
    assert run(SMALL.replace("3.1.3", "3.1.4")) == ["pip"]


def test_the_larger_set_serves_the_smaller(run: Run) -> None:
    run("# made of both\n" + LARGE)
    assert run("# made of one\n" + SMALL) == []


def test_the_smaller_set_does_not_serve_the_larger(run: Run) -> None:
    run(SMALL)
    assert run(LARGE) == ["pip"]


def test_what_was_broken_off_is_done_afresh(run: Run) -> None:
    run(SMALL)
    with pytest.raises(subprocess.CalledProcessError):
        run(SMALL + "broken")
    assert run(SMALL) == ["venv", "pip"]


def test_another_python_gets_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(SMALL)
    newer = SimpleNamespace(major=sys.version_info.major, minor=sys.version_info.minor + 1)
    monkeypatch.setattr(sys, "version_info", newer)
    assert run(SMALL) == ["venv", "pip"]


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "Say which file"), (["a", "b"], "Say which file"), (["none.txt"], "There is no file ")],
)
@pytest.mark.parametrize("start", [["script/bootstrap"], [sys.executable, "script/install.py"]])
def test_whoever_names_no_file_is_told_so(start: list[str], words: list[str], said: str) -> None:
    done = subprocess.run([*start, *words], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(said)


def test_two_at_once_install_once(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    code = f"""
import sys; from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from script.install import install
install(Path("requirements.txt").absolute(), Path(".venv").absolute())
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=120)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(map(bool, printed)) == [False, True]
    python = tmp_path / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0
