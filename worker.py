"""Starts a worker: `python worker.py`, on any machine that reaches the database and Redis."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from types import ModuleType

from config import ConfigError

# By these `requests` guesses how a text is written; of what we are answered we read the bytes.
_NEVER_ASKED = ("chardet", "charset_normalizer")
# Redis's client loads this whole package, of which it needs one small module.
_OF_ASYNCIO = "redis.asyncio"


def main() -> int:
    """Run until told to stop. Exit code 2: the settings or the arguments cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    deliver = "start what sends webhooks and mails in place of a worker"
    parser.add_argument("--deliver", action="store_true", help=deliver)
    chosen = parser.parse_args()
    _be_small()
    try:
        from webapp import create_core

        app = create_core()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if chosen.deliver:
        from webapp.deliverer import start
    else:
        from webapp.worker import start
    start(app)
    return 0


def _be_small() -> None:
    """Leave out what takes memory and is never read: docstrings, tables of character sets, and a
    client of Redis for asyncio.

    Together a tenth of a worker (docs/performance.md). Without docstrings Python keeps modules in
    files of their own; where it may not, each start would compile them all.
    """
    if sys.flags.optimize < 2 and _may_keep_modules():
        os.execv(sys.executable, [sys.executable, "-OO", *sys.orig_argv[1:]])
    sys.modules.update(dict.fromkeys(_NEVER_ASKED))  # type: ignore[arg-type]
    warnings.filterwarnings("ignore", "Unable to find acceptable character detection")
    sys.modules[_OF_ASYNCIO] = _hollow(_OF_ASYNCIO)


def _hollow(package: str) -> ModuleType:
    """A package of which only those modules are loaded that somebody imports by name."""
    parent, _, name = package.rpartition(".")
    found = find_spec(parent)
    assert found is not None
    hollow = ModuleType(package)
    hollow.__path__ = [str(Path(each, name)) for each in found.submodule_search_locations or ()]
    return hollow


def _may_keep_modules() -> bool:
    found = find_spec("sqlalchemy")
    if found is None or found.origin is None:
        return False
    kept = Path(cache_from_source(found.origin, optimization="2"))
    return kept.exists() or (not sys.dont_write_bytecode and os.access(kept.parent, os.W_OK))


if __name__ == "__main__":
    sys.exit(main())
