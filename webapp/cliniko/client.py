"""The Cliniko API. Facts: docs.api.cliniko.com and the repository redguava/cliniko-api."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

from webapp.cliniko.answer import body_of, object_in
from webapp.cliniko.errors import (
    AuthFailed,
    BadResponse,
    ClinikoError,
    Forbidden,
    RateLimited,
    TimedOut,
    Unavailable,
)
from webapp.cliniko.records import FIELDS
from webapp.cliniko.shard import DEFAULT_API_URL, base_url, shard_of
from webapp.cliniko.throttle import (
    PATIENT,
    Budget,
    RetryPolicy,
    Waiter,
    WaitReason,
    backoff,
    date_of,
    rate_limit_backoff,
    wait_asked,
)

PRODUCT = "Patient Sync"

# What is read of an answer; everything else is let go unread.
_KEPT = FIELDS | {"patients", "total_entries", "next", "account", "name", "subdomain"}
_KEPT |= {"country", "time_zone"}


class Listing(StrEnum):
    """Cliniko's lists of patients. A merged patient stands among the archived ones."""

    ACTIVE = "/patients"
    ARCHIVED = "/patients/archived"
    DELETED = "/patients/deleted"


@dataclass(frozen=True)
class Page:
    """One answer of a list: the raw records, how many match in all, and where it goes on."""

    records: list[Any]
    total_entries: int
    next_url: str | None
    served_at: datetime | None  # by Cliniko's clock


@dataclass(frozen=True)
class Account:
    """Whom a key belongs to."""

    id: str
    name: str
    subdomain: str
    country: str
    time_zone: str
    shard: str


class Cliniko:
    """One key's way into Cliniko. May be used by several threads at once."""

    def __init__(
        self,
        api_key: str,
        *,
        contact_email: str,
        budget: Budget,
        waiter: Waiter,
        api_url: str = DEFAULT_API_URL,
        policy: RetryPolicy = PATIENT,
    ) -> None:
        """Raises InvalidKey for a key of impossible form."""
        self._base = base_url(api_key, api_url)
        self._shard = shard_of(api_key)
        self._key = api_key
        # Requests without an address to write to may be blocked.
        self._agent = f"{PRODUCT} ({contact_email})"
        self._budget = budget
        self._waiter = waiter
        self._policy = policy
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        self._requests_made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for session in self._sessions:
                session.close()

    @property
    def requests_made(self) -> int:
        """How many requests have gone out, tries that failed included."""
        return self._requests_made

    def get_page(
        self,
        listing: Listing,
        *,
        page: int | None = None,
        per_page: int = 100,
        filters: Sequence[str] = (),
        sort: str | None = "id",
    ) -> Page:
        """A page of a list. `filters` are Cliniko's own, as `id:>5`. Raises ClinikoError."""
        params: list[tuple[str, str]] = [("per_page", str(per_page))]
        if page is not None:
            params.append(("page", str(page)))
        if sort is not None:
            params.append(("sort", sort))
        params += [("q[]", text) for text in filters]
        return self._page(self._base + listing, params)

    def follow(self, listing: Listing, url: str) -> Page:
        """The page behind a `next` link. Raises BadResponse for a link that leads elsewhere."""
        target, home = urlsplit(url), urlsplit(self._base + listing)
        if (target.scheme, target.netloc, target.path) != (home.scheme, home.netloc, home.path):
            raise BadResponse(
                "Cliniko's list of patients links to another place. Nothing was read."
            )
        return self._page(url, [])

    def count_active(self) -> int:
        """How many patients are neither archived nor deleted: one request. Raises ClinikoError."""
        return self.get_page(Listing.ACTIVE, per_page=1).total_entries

    def patient(self, cliniko_patient_id: str) -> dict[str, Any] | None:
        """One patient's raw record; None if Cliniko knows of none. Raises ClinikoError."""
        content, _ = self._get(
            f"{self._base}/patients/{cliniko_patient_id}", [], may_be_absent=True
        )
        return content

    def account(self) -> Account:
        """Whom the key belongs to; every user may ask. Raises ClinikoError."""
        content, _ = self._get(f"{self._base}/settings/public", [])
        account = (content or {}).get("account")
        if not isinstance(account, dict) or not isinstance(account.get("id"), (str, int)):
            raise BadResponse("Cliniko did not tell whose account this is. Try again later.")

        def text(field: str) -> str:
            return str(account.get(field) or "")

        return Account(
            text("id"),
            text("name"),
            text("subdomain"),
            text("country"),
            text("time_zone"),
            self._shard,
        )

    def _page(self, url: str, params: list[tuple[str, str]]) -> Page:
        content, served_at = self._get(url, params, holds_list=True)
        content = content or {}
        links = content.get("links")
        next_url = links.get("next") if isinstance(links, dict) else None
        if next_url is not None and not isinstance(next_url, str):
            raise BadResponse
        return Page(content["patients"], content["total_entries"], next_url, served_at)

    def _get(
        self,
        url: str,
        params: list[tuple[str, str]],
        *,
        may_be_absent: bool = False,
        holds_list: bool = False,
    ) -> tuple[dict[str, Any] | None, datetime | None]:
        """Ask until there is an answer to be had, as patiently as the policy says."""
        policy, waited, refused, failed, unread = self._policy, 0.0, 0, 0, 0
        while True:
            self._wait_for_budget()
            try:
                response, body = self._try(url, params)
                if response.status_code == 404 and may_be_absent:
                    return None, date_of(response.headers)
                _check_status(response)
                content = object_in(body, response.headers, keep=_KEPT)
                if holds_list:
                    _check_list(content)
                return content, date_of(response.headers)
            except RateLimited as error:
                asked = error.retry_after
                seconds = float(asked) if asked is not None else rate_limit_backoff(refused)
                refused, waited = refused + 1, waited + seconds
                self._budget.hold(seconds)
                if waited > policy.wait_limit:
                    error.retry_after = max(1, round(seconds))
                    raise
                self._waiter.wait(seconds, WaitReason.RATE_LIMITED)
            except Unavailable as error:
                failed += 1
                if failed >= policy.tries or not error.retryable:
                    raise
                self._waiter.wait(error.retry_after or backoff(failed - 1), WaitReason.RETRY)
            except BadResponse as error:
                unread += 1
                if unread >= policy.bad_response_tries or error.http_status is not None:
                    raise
                self._waiter.wait(backoff(unread - 1), WaitReason.RETRY)

    def _wait_for_budget(self) -> None:
        while (seconds := self._budget.acquire()) > 0:
            if self._policy.wait_limit <= 0:
                raise RateLimited(retry_after=max(1, round(seconds)))
            self._waiter.wait(seconds, WaitReason.BUDGET)

    def _try(self, url: str, params: list[tuple[str, str]]) -> tuple[requests.Response, bytes]:
        """One request. Raises Unavailable, TimedOut or BadResponse, never what libraries raise."""
        policy = self._policy
        deadline = time.monotonic() + policy.total_timeout
        with self._lock:
            self._requests_made += 1
        try:
            with self._session().get(
                url,
                params=params,
                timeout=(policy.connect_timeout, policy.read_timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                return response, body_of(response, deadline=deadline)
        except requests.exceptions.SSLError as error:
            raise _insecure() from error
        except requests.exceptions.Timeout as error:
            raise TimedOut from error
        except requests.exceptions.RequestException as error:
            raise Unavailable from error
        except (ReadTimeoutError, TimeoutError) as error:
            raise TimedOut from error
        except DecodeError as error:
            raise BadResponse from error
        except (HTTPError, ValueError, OSError) as error:
            raise Unavailable from error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False  # no proxy and no .netrc of whoever runs this
            session.auth = (self._key, "")
            session.headers.update({"Accept": "application/json", "User-Agent": self._agent})
            session.mount("https://", HTTPAdapter(pool_connections=1, pool_maxsize=1))
            session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1))
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session


def _check_status(response: requests.Response) -> None:
    """Raise what a status other than 200 stands for."""
    status = response.status_code
    if status == 200:
        return
    if status == 401:
        raise AuthFailed(http_status=status)
    if status == 403:
        raise Forbidden(http_status=status)
    asked = wait_asked(response.headers, now=datetime.now(UTC))
    seconds = None if asked is None else max(1, round(asked))
    if status == 429:
        raise RateLimited(http_status=status, retry_after=seconds)
    if status >= 500:
        raise Unavailable(http_status=status, retry_after=seconds if status == 503 else None)
    raise BadResponse(f"Cliniko answered with the unexpected status {status}.", http_status=status)


def _check_list(content: dict[str, Any]) -> None:
    """A list without its parts is no empty list: taking it for one would lose patients."""
    total = content.get("total_entries")
    whole = isinstance(total, int) and not isinstance(total, bool) and total >= 0
    if not isinstance(content.get("patients"), list) or not whole:
        raise BadResponse("Cliniko sent a list of patients with parts missing. Try again later.")


def _insecure() -> ClinikoError:
    error = Unavailable("The connection to Cliniko is not secure, so nothing was sent.")
    error.retryable = False
    return error
