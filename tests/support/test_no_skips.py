from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import ROOT

SKIPPED_TEST = "import pytest\n@pytest.mark.skip(reason='no browser')\ndef test_it(): pass\n"
SKIPPED_FILE = "import pytest\npytest.skip('no browser', allow_module_level=True)\n"
SKIPPED_INSIDE = "import pytest\ndef test_it(): pytest.skip('no browser')\n"
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\n"
PASSING = "def test_it(): pass\n"


def run(folder: Path, content: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(content)
    (folder / "pytest.ini").write_text("[pytest]\n")
    plugin = ["-p", "tests.support.no_skips", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", *plugin, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("content", [SKIPPED_TEST, SKIPPED_FILE, SKIPPED_INSIDE])
def test_a_skip_is_a_failure_if_asked_for(tmp_path: Path, content: str) -> None:
    done = run(tmp_path, content, "--no-skips")
    assert done.returncode != 0
    assert "no browser" in done.stdout


@pytest.mark.parametrize("content", [SKIPPED_TEST, SKIPPED_INSIDE])
def test_a_skip_is_a_skip_otherwise(tmp_path: Path, content: str) -> None:
    assert run(tmp_path, content).returncode == 0


@pytest.mark.parametrize("content", [EXPECTED_FAILURE, PASSING])
def test_nothing_else_is_touched(tmp_path: Path, content: str) -> None:
    assert run(tmp_path, content, "--no-skips").returncode == 0
