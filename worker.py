"""Starts a worker: `python worker.py`, on any machine that reaches the database and Redis."""

from __future__ import annotations

import argparse
import sys

from config import ConfigError


def main() -> int:
    """Run until told to stop. Exit code 2: the settings or the arguments cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    deliver = "start what sends webhooks and mails in place of a worker"
    parser.add_argument("--deliver", action="store_true", help=deliver)
    chosen = parser.parse_args()
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


if __name__ == "__main__":
    sys.exit(main())
