"""Who is let in: the contact address, the key, and 200 requests a minute for each Cliniko user.

Facts: https://docs.api.cliniko.com (Authentication, Identifying your application, Rate limits).
"""

import base64
import binascii
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message

from simulator.account import ClinikoAccount
from simulator.exchange import Refusal, Request
from simulator.users import ClinikoUser, KeyState

_CONTACT = re.compile(r"\S.*[\s(<]+[^\s()<>@]+@[^\s()<>@]+\.[^\s()<>@]+")


@dataclass(frozen=True, slots=True)
class Caller:
    account: ClinikoAccount
    user: ClinikoUser
    key_state: KeyState


def caller_of(accounts: Iterable[ClinikoAccount], headers: Message) -> Caller | None:
    """Return whose key the request carries; None for a key that is nobody's."""
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    try:
        user_name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    if scheme.lower() != "basic" or password:
        return None
    for account in accounts:
        for user in account.users:
            if key_state := user.state_of(user_name):
                return Caller(account, user, key_state)
    return None


def check_headers(request: Request, *, strict: bool) -> None:
    """Raise Refusal for a caller who gives no contact; if strict, also for a missing Accept."""
    if not _CONTACT.search(request.headers.get("User-Agent", "")):
        message = "User-Agent must name the application and a contact: NAME (contact@address)."
        raise Refusal(400 if strict else 403, message)
    if strict and "application/json" not in request.headers.get("Accept", ""):
        raise Refusal(400, "Accept must be application/json.")


def check_key(caller: Caller | None) -> Caller:
    """Return the caller; Refusal 401 unless the key is one that Cliniko knows."""
    if caller is None or caller.key_state in (KeyState.WRONG, KeyState.REVOKED):
        raise Refusal(401, "The API key is missing, is wrong or was revoked.")
    return caller


def check_allowance(
    user: ClinikoUser, *, limit: int, window_s: float, now: float, tells_retry_after: bool
) -> None:
    """Take one request from the user's allowance; Refusal 429 when none is left.

    `now` is in Unix seconds. The refusal says when to come back: as Unix seconds in
    X-RateLimit-Reset, or, as some integrators report, as seconds from now in Retry-After.
    """
    again = user.allowance.take(limit, window_s=window_s, now=now)
    if again is None:
        return
    headers = {"X-RateLimit-Reset": str(math.ceil(again))}
    if tells_retry_after:
        headers = {"Retry-After": str(max(1, math.ceil(again - now)))}
    raise Refusal(429, "Too many requests. Please wait before asking again.", headers)
