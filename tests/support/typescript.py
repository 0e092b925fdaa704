"""The TypeScript compiler, from its package: what checks and translates our examples."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "5.9.3"


class TypeScriptUnavailable(Exception):
    """The compiler cannot be had here; the text says why."""


def compiled(source: Path, folder: Path, cache: Path) -> Path:
    """The JavaScript of a file, in this folder; the compiler is fetched once into the cache.

    Raises TypeScriptUnavailable; AssertionError for a file that does not pass the strict checks.
    """
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise TypeScriptUnavailable("no TypeScript: npm and node are not installed")
    compiler = cache / f"typescript-{VERSION}" / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        _fetch(npm, cache, cache / f"typescript-{VERSION}")
    options = ["--strict", "--target", "es2022", "--module", "commonjs", "--lib", "es2022,dom"]
    command = [node, str(compiler), *options, "--outDir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return folder / source.with_suffix(".js").name


def _fetch(npm: str, cache: Path, kept: Path) -> None:
    # Another process may fetch it as well: it is there whole or not at all.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [npm, "install", "--prefix", folder, f"typescript@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            reason = done.stderr.strip()[-300:]
            raise TypeScriptUnavailable(f"no TypeScript: npm install has failed: {reason}")
        try:
            Path(folder, "node_modules").rename(kept)
        except OSError:
            assert kept.exists()  # the other one was first
