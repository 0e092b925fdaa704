"""A Cliniko that runs here, for the first run, development, tests and benchmarks.

It keeps the rules of Cliniko's public API (https://docs.api.cliniko.com) that concern patients,
settings and users, holds only invented patients, and is reached over HTTP alone:

    account = ClinikoAccount.generate(active=120, archived=7)
    account.add_key("invented-key-au1")
    with Simulator(account) as cliniko:
        requests.get(f"{cliniko.url}/patients", auth=("invented-key-au1", ""), headers=...)

or as a process of its own: `python -m simulator --help`.
"""

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from simulator.users import ClinikoUser, KeyState

__all__ = ["ClinikoAccount", "ClinikoUser", "KeyState", "Simulator", "State"]
