"""The file that the CDN serves, taken from the package of npm: tests do not reach the CDN."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
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
        _fetch(cache)
    with tarfile.open(kept) as package:
        member = package.extractfile("package/dist/htmx.min.js")
        assert member is not None
        return member.read()


def _fetch(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise HtmxUnavailable("no htmx: npm, which fetches its package, is not installed")
    command = [npm, "pack", f"htmx.org@{HTMX_VERSION}", "--pack-destination", str(cache)]
    done = subprocess.run(command, cwd=cache, capture_output=True, text=True)
    if done.returncode != 0:
        raise HtmxUnavailable(f"no htmx: npm pack has failed: {done.stderr.strip()[-300:]}")
