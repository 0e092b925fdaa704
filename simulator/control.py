"""The controls, in JSON, at /_control on the simulator's own port:

    GET    state              accounts, settings, faults, how many requests got which status
    GET    truth?account=ID   each patient's id with state and whole record, for comparing copies
    GET    requests           the newest requests to the API
    POST   patients           {"action": "archive", "pick": "random", "n": 5, "account": "12345"}
    POST   faults             one fault or a list of them, see `simulator.faults`
    DELETE faults             take all faults back
    POST   settings           {"latency_ms": 250, "rate_limit": 0, "keys": {"KEY": "revoked"}}

An action is create, edit, archive, unarchive, delete or merge. `ids` names the patients, or else
`n` of them (1 unless said) are picked: the first, the last or random ones of those it can happen
to. `content` holds the fields for create and edit, `into` the id of the patient to merge into.
`account` may be left out when there is only one.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from simulator.account import ClinikoAccount, NoSuchPatient
from simulator.exchange import Answer, Refusal, Request, json_answer
from simulator.patient import State, to_json
from simulator.users import KeyState

if TYPE_CHECKING:
    from simulator.server import Simulator

CONTROL = "/_control"


def control(request: Request, simulator: "Simulator") -> Answer:
    """Do what a request to the controls asks for; 400 or 404 with a message if it cannot be."""
    order = f"{request.method} {request.path.removeprefix(CONTROL).strip('/')}"
    if order not in _ORDERS:
        return Refusal(404, f"There is no {order}; there are {', '.join(_ORDERS)}.").answer
    try:
        said = json.loads(request.body) if request.body else dict(request.params)
        return _ORDERS[order](simulator, said)
    except NoSuchPatient as error:
        return Refusal(404, str(error)).answer
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return Refusal(400, f"{type(error).__name__}: {error}").answer


def _state(simulator: "Simulator", said: Any) -> Answer:
    return json_answer(
        {
            "accounts": [_account_state(account) for account in simulator.accounts],
            "settings": {name: getattr(simulator, name) for name in _SETTINGS},
            "faults": [asdict(fault) for fault in simulator.faults],
            "answered": simulator.answered.copy(),
        }
    )


def _account_state(account: ClinikoAccount) -> dict[str, Any]:
    counts = Counter(patient.state for patient in account.patients())
    return {
        "id": account.id,
        "name": account.name,
        "patients": {state: counts[state] for state in State},
        "keys": {user.email: list(user.keys.values()) for user in account.users},
    }


def _truth(simulator: "Simulator", said: Any) -> Answer:
    told = (
        b'"%d":{"state":%b,"content":%b}' % (each.id, to_json(each.state), each.json)
        for each in _account(simulator, said).patients()
    )
    return Answer(200, b"{%b}" % b",".join(told))


def _requests(simulator: "Simulator", said: Any) -> Answer:
    return json_answer([asdict(seen) for seen in simulator.requests])


def _patients(simulator: "Simulator", said: Any) -> Answer:
    account = _account(simulator, said)
    action, content = said["action"], said.get("content", {})
    if action == "create":
        return json_answer({"ids": [account.create(**content) for _ in range(said.get("n", 1))]})
    if action not in _HAPPENS_TO:
        raise ValueError(f"{action} is none of create, {', '.join(_HAPPENS_TO)}")
    ids = said.get("ids") or _picked(account.ids(*_HAPPENS_TO[action]), said)
    for patient_id in ids:
        match action:
            case "edit":
                account.edit(patient_id, **content)
            case "merge":
                account.merge(patient_id, into=said["into"])
            case _:
                getattr(account, action)(patient_id)
    return json_answer({"ids": ids})


_HAPPENS_TO = {
    "edit": (State.ACTIVE, State.ARCHIVED),
    "archive": (State.ACTIVE,),
    "unarchive": (State.ARCHIVED,),
    "delete": (State.ACTIVE, State.ARCHIVED),
    "merge": (State.ACTIVE,),
}


def _picked(ids: list[str], said: dict[str, Any]) -> list[str]:
    ids = [each for each in ids if each != str(said.get("into"))]
    count = min(said.get("n", 1), len(ids))
    match said.get("pick", "random"):
        case "first":
            return ids[:count]
        case "last":
            return ids[len(ids) - count :]
        case "random":
            return random.sample(ids, count)
        case other:
            raise ValueError(f"{other} is none of first, last, random")


def _add_faults(simulator: "Simulator", said: Any) -> Answer:
    for fault in said if isinstance(said, list) else [said]:
        simulator.faults.add(**fault)
    return _state(simulator, said)


def _clear_faults(simulator: "Simulator", said: Any) -> Answer:
    simulator.faults.clear()
    return _state(simulator, said)


_SETTINGS: dict[str, Callable[[Any], Any]] = {
    "latency_ms": float,
    "rate_limit": int,
    "rate_window_s": float,
    "tells_retry_after": bool,
    "strict": bool,
}


def _set(simulator: "Simulator", said: Any) -> Answer:
    said = dict(said)
    keys = {key: KeyState(state) for key, state in said.pop("keys", {}).items()}
    values = {name: _SETTINGS[name](value) for name, value in said.items()}
    users = {key: user for each in simulator.accounts for user in each.users for key in user.keys}
    for key, state in keys.items():
        users[key].keys[key] = state
    for name, value in values.items():
        setattr(simulator, name, value)
    return _state(simulator, said)


def _account(simulator: "Simulator", said: Any) -> ClinikoAccount:
    found = [each for each in simulator.accounts if said.get("account", each.id) == each.id]
    if len(found) != 1:
        raise ValueError(f"which account? there are {[each.id for each in simulator.accounts]}")
    return found[0]


_ORDERS: dict[str, Callable[["Simulator", Any], Answer]] = {
    "GET state": _state,
    "GET truth": _truth,
    "GET requests": _requests,
    "POST patients": _patients,
    "POST faults": _add_faults,
    "DELETE faults": _clear_faults,
    "POST settings": _set,
}
