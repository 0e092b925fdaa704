"""The file that the CDN serves, taken from the package of npm: tests do not reach the CDN."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from webapp.htmx import HTMX_VERSION


class HtmxUnavailable(Exception):
    """The package cannot be fetched here; the text says why."""


def htmx_file(cache: Path) -> bytes:
    """The content of dist/htmx.min.js; fetched once and kept in the folder.

    Raises HtmxUnavailable.
    """
    kept = cache / f"htmx.org-{HTMX_VERSION}.tgz"
    if not kept.exists():
        _fetch(kept)
    with tarfile.open(kept) as package:
        member = package.extractfile("package/dist/htmx.min.js")
        assert member is not None
        return member.read()


def _fetch(kept: Path) -> None:
    cache = kept.parent
    npm = shutil.which("npm")
    if npm is None:
        raise HtmxUnavailable("no htmx: npm, which fetches its package, is not installed")
    command = [npm, "pack", f"htmx.org@{HTMX_VERSION}", "--pack-destination"]
    # Another process may fetch it as well: it is there whole or not at all.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        done = subprocess.run([*command, folder], cwd=cache, capture_output=True, text=True)
        if done.returncode != 0:
            raise HtmxUnavailable(f"no htmx: npm pack has failed: {done.stderr.strip()[-300:]}")
        os.replace(Path(folder, kept.name), kept)
