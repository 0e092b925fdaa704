from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest

from config import ROOT
from script.install import install

SMALL = "flask==3.1.3 \\\n    --hash=sha256:aa\n"
LARGE = SMALL.replace("aa", "aa \\\n    --hash=sha256:ab") + "pytest==9.2.0 --hash=sha256:bb\n"

ENDINGS = {"refused": 1, "killed": -signal.SIGKILL}  # a last line, and how pip ends then

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
        last = (tmp_path / "requirements.txt").read_text().rpartition("\n")[2]
        if module == "pip" and last in ENDINGS:
            raise subprocess.CalledProcessError(ENDINGS[last], "pip")

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
        run(SMALL + "killed")
    assert run(SMALL) == ["venv", "pip"]


def test_what_pip_refuses_leaves_what_is_there(run: Run) -> None:
    run(SMALL)
    with pytest.raises(subprocess.CalledProcessError):
        run(SMALL + "refused")
    assert run(SMALL) == ["pip"]  # some may be of another release
    assert run(SMALL) == []


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


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is all the network there is: without it pip has nowhere to go."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def packed(shelf: Path, name: str, version: str, *, wrong: bool = False) -> str:
    """Puts a package with one module there; returns its line in a requirements file. The first
    needs the second, which is installed before. Pip notices only when it unpacks a wrong one."""
    wheel = shelf / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    needs = "Requires-Dist: two\n" if name == "one" else ""
    module = f"../{name}.py" if wrong else f"{name}.py"
    files = {
        module: f"version = '{version}'\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + needs,
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{about}/RECORD", "".join(f"{path},,\n" for path in files))
    return f"{name}=={version} --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}\n"


def installed(venv: Path) -> dict[str, str]:
    """The version of each of our packages that is there, as Python finds it."""
    tell = "import one, two; print(one.version, two.version)"
    done = subprocess.run([venv / "bin" / "python", "-c", tell], capture_output=True, text=True)
    return dict(zip(("one", "two"), done.stdout.split(), strict=False))


def test_an_upgrade_without_a_network_leaves_the_release_that_works(
    tmp_path: Path, shelf: Path
) -> None:
    release, venv = tmp_path / "requirements.txt", tmp_path / ".venv"
    before = packed(shelf, "one", "1") + packed(shelf, "two", "1")
    after = packed(shelf, "one", "2") + packed(shelf, "two", "2")
    release.write_text(before)
    install(release, venv)

    shutil.rmtree(shelf)
    release.write_text(after)
    for _ in range(2):  # the service tries again
        with pytest.raises(subprocess.CalledProcessError):
            install(release, venv)
    assert installed(venv) == {"one": "1", "two": "1"}

    release.write_text(before)
    install(release, venv)
    assert installed(venv) == {"one": "1", "two": "1"}


def test_one_that_pip_gave_up_half_way_is_made_whole_again(tmp_path: Path, shelf: Path) -> None:
    release, venv = tmp_path / "requirements.txt", tmp_path / ".venv"
    before = packed(shelf, "one", "1") + packed(shelf, "two", "1")
    after = packed(shelf, "one", "2", wrong=True) + packed(shelf, "two", "2")
    release.write_text(before)
    install(release, venv)

    release.write_text(after)
    with pytest.raises(subprocess.CalledProcessError):
        install(release, venv)
    assert installed(venv) == {"one": "1", "two": "2"}

    release.write_text(before)
    install(release, venv)
    assert installed(venv) == {"one": "1", "two": "1"}
