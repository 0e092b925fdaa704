"""The Cliniko API. Facts: docs.api.cliniko.com and the repository redguava/cliniko-api."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import ceil
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

from webapp.cliniko.answer import Answer
from webapp.cliniko.errors import BadResponse, RateLimited, Unavailable
from webapp.cliniko.fields import id_in
from webapp.cliniko.line import Line
from webapp.cliniko.page import Page, page_in
from webapp.cliniko.raw import object_in, patient_in
from webapp.cliniko.records import Malformed, PatientRecord, read_patient, read_tombstone
from webapp.cliniko.shard import base_url, shard_of
from webapp.cliniko.throttle import (
    FOR_SYNCS,
    Budget,
    RetryPolicy,
    Waiter,
    WaitReason,
    backoff,
    rate_limit_backoff,
)

PRODUCT = "Patient Sync"
MAX_ACCOUNT_TEXT = 200

Meaning = TypeVar("Meaning")


class Listing(StrEnum):
    """Cliniko's lists of patients. A merged patient stands among the archived ones."""

    ACTIVE = "/patients"
    ARCHIVED = "/patients/archived"
    DELETED = "/patients/deleted"


# Records are checked and parsed by the thread that has asked, while others wait for a database.
_PAGE_OF = {
    Listing.ACTIVE: partial(page_in, read=read_patient),
    Listing.ARCHIVED: partial(page_in, read=read_patient),
    Listing.DELETED: partial(page_in, read=read_tombstone),
}


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
        api_url: str,
        policy: RetryPolicy = FOR_SYNCS,
    ) -> None:
        """Raises InvalidKey for a key of impossible form."""
        self._base = base_url(api_key, api_url)
        self._shard = shard_of(api_key)
        # Requests without an address to write to may be blocked.
        self._line = Line(api_key, f"{PRODUCT} ({contact_email})", policy)
        self._budget = budget
        self._waiter = waiter
        self._policy = policy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._line.close()

    @property
    def requests_made(self) -> int:
        """How many requests have gone out, tries that failed included."""
        return self._line.requests_made

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
        return self._ask(self._base + listing, _PAGE_OF[listing], params)

    def follow(self, listing: Listing, url: str) -> Page:
        """The page behind a `next` link. Raises BadResponse for a link that leads elsewhere."""
        here = self._base + listing
        try:
            target, home = urlsplit(url), urlsplit(here)
        except ValueError:
            raise _elsewhere() from None
        if (target.scheme, target.netloc, target.path) != (home.scheme, home.netloc, home.path):
            raise _elsewhere()
        # Asked at our own address: no two readers of the link can differ about its host.
        return self._ask(f"{here}?{target.query}", _PAGE_OF[listing])

    def pause(self, seconds: float) -> None:
        """Wait before something is looked at again, as before any other second try."""
        self._waiter.wait(seconds, WaitReason.RETRY)

    def count_active(self) -> int:
        """How many patients are neither archived nor deleted: one request. Raises ClinikoError."""
        return self.get_page(Listing.ACTIVE, per_page=1).total_entries

    def patient(self, cliniko_patient_id: str) -> PatientRecord | Malformed | None:
        """One patient; None if Cliniko knows of none. Raises ClinikoError."""
        return self._ask(f"{self._base}/patients/{quote(cliniko_patient_id, safe='')}", _patient_in)

    def account(self) -> Account:
        """Whom the key belongs to; every user may ask. Raises ClinikoError."""

        def account_in(answer: Answer) -> Account:
            return _account_in(answer, self._shard)

        return self._ask(f"{self._base}/settings/public", account_in)

    def _ask(
        self, url: str, read: Callable[[Answer], Meaning], params: Sequence[tuple[str, str]] = ()
    ) -> Meaning:
        """Ask until there is an answer that can be read, as patiently as the policy says."""
        policy, waited, refused, failed, unread = self._policy, 0.0, 0, 0, 0
        while True:
            self._wait_for_budget()
            try:
                return read(self._line.get(url, list(params)))
            except RateLimited as error:
                asked = error.retry_after
                seconds = float(asked) if asked is not None else rate_limit_backoff(refused)
                refused, waited = refused + 1, waited + seconds
                self._budget.hold(seconds)
                if waited > policy.wait_limit:
                    error.retry_after = ceil(seconds)
                    raise
                self._waiter.wait(seconds, WaitReason.RATE_LIMITED)
            except Unavailable as error:
                failed += 1
                if failed >= policy.tries or not error.retryable:
                    raise
                self._waiter.wait(error.retry_after or backoff(failed - 1), WaitReason.RETRY)
            except BadResponse as error:
                # What a status says plainly, asking again does not change.
                unread += 1
                if unread >= policy.bad_response_tries or error.http_status is not None:
                    raise
                self._waiter.wait(backoff(unread - 1), WaitReason.RETRY)

    def _wait_for_budget(self) -> None:
        while (seconds := self._budget.acquire()) > 0:
            if self._policy.wait_limit <= 0:
                raise RateLimited(retry_after=ceil(seconds))
            self._waiter.wait(seconds, WaitReason.BUDGET)


def _patient_in(answer: Answer) -> PatientRecord | Malformed | None:
    return None if answer.status == 404 else read_patient(patient_in(answer.json_body()))


def _account_in(answer: Answer, shard: str) -> Account:
    account = object_in(answer.json_body()).get("account")
    account = account if isinstance(account, dict) else {}
    account_id = id_in(account.get("id"))
    if account_id is None:
        raise BadResponse("Cliniko did not tell whose account this is. Try again later.")

    def text(field: str) -> str:
        value = account.get(field)
        shown = filter(str.isprintable, value) if isinstance(value, str) else ""
        return "".join(shown)[:MAX_ACCOUNT_TEXT]

    return Account(
        account_id, text("name"), text("subdomain"), text("country"), text("time_zone"), shard
    )


def _elsewhere() -> BadResponse:
    return BadResponse(
        "Cliniko's list of patients links to another place. Nothing was read from there. "
        "Try again later."
    )
