"""`python -m simulator`: Cliniko as a process of its own, until SIGTERM or SIGINT."""

import argparse
import signal
import sys
from types import FrameType
from typing import NoReturn

from simulator.account import ClinikoAccount
from simulator.server import Simulator


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="A stand-in for Cliniko with invented patients.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=8900, help="port to listen at; 0 is any")
    parser.add_argument("--patients", type=int, default=648, help="how many, in whatever state")
    parser.add_argument("--archived", type=int, default=36, help="how many of them are archived")
    parser.add_argument("--merged", type=int, default=5, help="how many are merged")
    parser.add_argument("--deleted", type=int, default=5, help="how many are deleted")
    parser.add_argument("--name", default="Surf Rehab", help="name of the clinic")
    parser.add_argument("--account-id", default="12345", help="the clinic's account at Cliniko")
    parser.add_argument("--key", default="invented-key-au1", help="API key of its administrator")
    parser.add_argument("--latency-ms", type=float, default=0, help="added to each answer")
    parser.add_argument(
        "--rate-limit", type=int, default=200, help="requests a minute; 0: no limit"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="the same seed invents the same patients"
    )
    parser.add_argument("--strict", action="store_true", help="refuse what is not documented")
    arguments = parser.parse_args()
    gone = arguments.archived + arguments.merged + arguments.deleted
    arguments.active = arguments.patients - gone
    if arguments.active < min(gone, 1):
        parser.error("at least one of the patients must be active")
    return arguments


def main() -> None:
    """Run until told to stop."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    account = ClinikoAccount.generate(
        account_id=arguments.account_id,
        name=arguments.name,
        active=arguments.active,
        archived=arguments.archived,
        merged=arguments.merged,
        deleted=arguments.deleted,
        seed=arguments.seed,
    )
    account.add_key(arguments.key)
    simulator = Simulator(
        account,
        host=arguments.host,
        port=arguments.port,
        latency_ms=arguments.latency_ms,
        rate_limit=arguments.rate_limit,
        strict=arguments.strict,
    )
    try:
        simulator.start()
        print(f"{account.name}: {arguments.patients} patients at {simulator.url}", flush=True)
        signal.pause()
    except OSError as error:
        sys.exit(f"The simulator cannot listen at {arguments.host}:{arguments.port}: {error}")
    finally:
        simulator.stop()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit


if __name__ == "__main__":
    main()
