"""The worker of the fault harness: ours, with the stages wrapped around it.

`SKEW_SECONDS` sets its clock forward, or back.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

import time_machine

import worker
from tests.faults import stages


def main() -> int:
    stages.install()
    skew = float(os.environ.get("SKEW_SECONDS", "0"))
    if skew:
        time_machine.travel(datetime.now(UTC) + timedelta(seconds=skew), tick=True).start()
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
