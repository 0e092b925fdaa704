"""Starts a worker: `python worker.py`, on any machine that reaches the database and Redis.

With `--deliver` it starts what sends webhooks and mails in place of one.
"""

from __future__ import annotations

import sys

from config import ConfigError


def main() -> int:
    """Run until told to stop. Exit code 2: the settings cannot be used."""
    try:
        from webapp import create_core

        app = create_core()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if "--deliver" in sys.argv[1:]:
        from webapp.deliverer import start
    else:
        from webapp.worker import start
    start(app)
    return 0


if __name__ == "__main__":
    sys.exit(main())
