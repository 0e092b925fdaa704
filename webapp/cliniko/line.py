"""The line to Cliniko: one request, and one answer or one of our errors, in the time allowed."""

from __future__ import annotations

import ssl
import threading
import time

import requests
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

from webapp.cliniko.answer import Answer, body_of
from webapp.cliniko.errors import BadResponse, TimedOut, Unavailable
from webapp.cliniko.throttle import RetryPolicy
from webapp.outbound.deadline import DirectSession, TimelyAdapter, answer_by

# The bodies of others tell nothing. That of a 404 is read so that its connection can be used again.
_STATUSES_WITH_BODY = (200, 404)


class Line:
    """Connections with one key's credentials, one for each thread."""

    def __init__(self, api_key: str, user_agent: str, policy: RetryPolicy) -> None:
        self._auth = (api_key, "")
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}
        self._policy = policy
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        self.requests_made = 0

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for session in self._sessions:
                session.close()

    def get(self, url: str, params: list[tuple[str, str]]) -> Answer:
        """Ask once. Raises Unavailable, TimedOut or BadResponse, never what libraries raise."""
        policy = self._policy
        with self._lock:
            self.requests_made += 1
        answer_by.set(time.monotonic() + policy.total_timeout)
        try:
            session, template = self._session()
            request = template.copy()
            request.prepare_url(url, params)
            with session.send(
                request,
                timeout=(policy.connect_timeout, policy.read_timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                body = body_of(response) if status in _STATUSES_WITH_BODY else b""
                return Answer(status, response.headers, body)
        except requests.exceptions.SSLError as error:
            raise (Unavailable() if _broke_off(error) else _insecure()) from error
        except (requests.exceptions.Timeout, ReadTimeoutError, TimeoutError) as error:
            raise TimedOut from error
        except DecodeError as error:
            raise BadResponse from error
        except (requests.exceptions.RequestException, HTTPError, ValueError, OSError) as error:
            raise (TimedOut() if _took_too_long(error) else Unavailable()) from error

    def _session(self) -> tuple[requests.Session, requests.PreparedRequest]:
        """This thread's connection, and the request that all of its requests are copies of."""
        known: tuple[requests.Session, requests.PreparedRequest] | None
        known = getattr(self._local, "session", None)
        if known is None:
            session = DirectSession()
            for scheme in ("https://", "http://"):
                session.mount(scheme, TimelyAdapter(pool_connections=1, pool_maxsize=1))
            request = requests.Request(
                "GET", "https://cliniko.invalid", headers=self._headers, auth=self._auth
            )
            known = self._local.session = session, session.prepare_request(request)
            with self._lock:
                self._sessions.append(session)
        return known


def _broke_off(error: BaseException | None) -> bool:
    """Whether the other side just went away: under TLS that looks like a TLS error."""
    while error is not None and not isinstance(error, ssl.SSLEOFError):
        error = error.__context__
    return error is not None


def _took_too_long(error: BaseException | None) -> bool:
    """Whether time ran out while we sent: that is wrapped like a connection that broke."""
    while error is not None and not isinstance(error, TimeoutError):
        error = next((each for each in error.args if isinstance(each, BaseException)), None)
    return error is not None


def _insecure() -> Unavailable:
    error = Unavailable(
        "The connection to Cliniko is not secure, so nothing was sent. Check the clock and the "
        "certificates of this server."
    )
    error.retryable = False
    return error
