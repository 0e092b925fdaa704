"""The simulator: accounts behind an address, faults on order, a record of what was asked."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Self

from simulator import door, endpoints, faults
from simulator.account import ClinikoAccount
from simulator.control import CONTROL, control
from simulator.exchange import Answer, Refusal, Request
from simulator.http_server import HttpServer

Hook = Callable[[str, dict[str, list[str]], int], None]
_REMEMBERED = 20_000


@dataclass
class SeenRequest:
    """A request as it is remembered: nothing of its key. `time` is in Unix seconds, `status` None
    until it is answered, `user` and `account` None for a key that is nobody's."""

    number: int
    method: str
    path: str
    params: dict[str, list[str]]
    account: str | None
    user: str | None
    time: float
    status: int | None = None


class Simulator:
    """Cliniko at an address of its own, from `start` to `stop` or as long as a `with` lasts.

    `rate_limit` requests in any `rate_window_s` seconds are let in for each Cliniko user; 0 is no
    limit. `tells_retry_after` refuses with Retry-After in place of X-RateLimit-Reset. `strict`
    refuses what is not documented. `before_request(path, params, number)` is called in the
    caller's thread before a request is looked at, so that patients can change between any two.
    All of these can be set while it runs.
    """

    def __init__(
        self,
        *accounts: ClinikoAccount,
        host: str = "127.0.0.1",
        port: int = 0,
        latency_ms: float = 0,
        rate_limit: int = 200,
        rate_window_s: float = 60,
        tells_retry_after: bool = False,
        strict: bool = False,
        before_request: Hook | None = None,
    ) -> None:
        self.accounts = accounts
        self.latency_ms = latency_ms
        self.rate_limit = rate_limit
        self.rate_window_s = rate_window_s
        self.tells_retry_after = tells_retry_after
        self.strict = strict
        self.before_request = before_request
        self.hook_errors: list[BaseException] = []
        self.faults = faults.Faults()
        self.answered: Counter[int] = Counter()
        self._seen: deque[SeenRequest] = deque(maxlen=_REMEMBERED)
        self._lock = Lock()
        self._address = (host, port)
        self._server: HttpServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Take requests from now on; OSError if the port is taken."""
        self._server = HttpServer(*self._address, self._respond)
        self._address = self._address[0], self._server.server_address[1]

    def stop(self) -> None:
        """Close every connection and the port at once."""
        if self._server:
            self._server.stop()

    @property
    def url(self) -> str:
        """The base address, as a client of Cliniko is given it."""
        return f"{self.control_url.removesuffix(CONTROL)}/v1"

    @property
    def control_url(self) -> str:
        """The address of the controls."""
        host, port = self._address
        return f"http://{host}:{port}{CONTROL}"

    @property
    def requests(self) -> list[SeenRequest]:
        """The newest requests to the API, oldest first; the controls' own are not among them."""
        return list(self._seen)

    def _respond(self, request: Request) -> tuple[Answer, list[faults.Fault]]:
        if request.path.startswith(f"{CONTROL}/"):
            return control(request, self), []
        if not request.path.startswith("/v1/"):
            return Refusal(404, "The API is under /v1.").answer, []
        path = request.path.removeprefix("/v1")
        request = replace(request, path=path, base=f"{request.base}/v1")
        caller = door.caller_of(self.accounts, request.headers)
        seen = self._remember(request, caller)
        self._call_hook(seen)
        met = self.faults.met_by(request, seen.account)
        if self.latency_ms:
            time.sleep(self.latency_ms / 1000)
        answer = faults.on_answer(met, self._cliniko(faults.on_request(met, request), caller))
        seen.status = answer.status
        with self._lock:
            self.answered[answer.status] += 1
        return answer, met

    def _call_hook(self, seen: SeenRequest) -> None:
        try:
            if self.before_request:
                self.before_request(seen.path, seen.params, seen.number)
        except BaseException as error:  # the caller sees a broken connection, and tries again
            self.hook_errors.append(error)
            raise

    def _cliniko(self, request: Request, caller: door.Caller | None) -> Answer:
        try:
            door.check_headers(request, strict=self.strict)
            caller = door.check_key(caller)
            door.check_allowance(
                caller.user,
                limit=self.rate_limit,
                window_s=self.rate_window_s,
                now=time.time(),
                tells_retry_after=self.tells_retry_after,
            )
            return endpoints.answer(request, caller, strict=self.strict)
        except Refusal as refusal:
            return refusal.answer

    def _remember(self, request: Request, caller: door.Caller | None) -> SeenRequest:
        params: dict[str, list[str]] = {}
        for name, value in request.params:
            params.setdefault(name, []).append(value)
        with self._lock:
            seen = SeenRequest(
                number=self._seen[-1].number + 1 if self._seen else 1,
                method=request.method,
                path=request.path,
                params=params,
                account=caller.account.id if caller else None,
                user=caller.user.email if caller else None,
                time=time.time(),
            )
            self._seen.append(seen)
        return seen
