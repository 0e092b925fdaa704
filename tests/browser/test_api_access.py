"""Making, copying and revoking a token by clicks."""

from __future__ import annotations

from collections.abc import Callable

import requests

from tests.browser.conftest import Live, Visitor


def opens(live: Live, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{live.url}/api/v1/organizations", headers=headers, timeout=10).ok


def test_a_token_is_made_copied_and_revoked(visit: Callable[..., Visitor], live: Live) -> None:
    vera = visit(permissions=["clipboard-read", "clipboard-write"])
    vera.sign_in(live.cast.vera)
    vera.open("/api-access")
    vera.page.get_by_label("Name").fill("Nightly report")
    vera.press("Make token")
    vera.sees("it will not be shown again")
    vera.press("Copy token")
    vera.sees("Copied")
    token = vera.page.evaluate("navigator.clipboard.readText()")
    assert opens(live, token)

    vera.open("/api-access")
    vera.press("Revoke Nightly report")
    vera.sees("Revoke Nightly report?")
    vera.press("Revoke the token")
    vera.sees("The token was revoked", "Revoked")
    assert not opens(live, token)
    assert vera.complaints == []
