"""Who is behind a key: the account, its locations and the user."""

from __future__ import annotations

from simulator import ClinikoAccount
from tests.simulator.asking import KEY, Ask


def test_any_user_sees_the_public_settings(account: ClinikoAccount, ask: Ask) -> None:
    account.add_key("desk-au1", role="receptionist", may_see_settings=False)
    for key in (KEY, "desk-au1"):
        settings = ask.json("/settings/public", key=key)["account"]
        assert (settings["id"], settings["name"]) == ("12345", "Surf Rehab")
        assert settings["subdomain"] == "surf-rehab"
        assert {"country", "time_zone"} <= set(settings)


def test_all_settings_need_the_right_to_see_them(account: ClinikoAccount, ask: Ask) -> None:
    account.add_key("desk-au1", role="receptionist", may_see_settings=False)
    assert ask.json("/settings")["account"]["admin"]["email"]
    refused = ask("/settings", key="desk-au1")
    assert refused.status_code == 403
    assert refused.json()["message"]


def test_a_key_tells_whose_it_is(account: ClinikoAccount, ask: Ask) -> None:
    account.add_key("desk-au1", role="receptionist")
    user = ask.json("/user", key="desk-au1")
    assert {"id", "email", "first_name", "last_name", "user_active"} <= set(user)
    assert user["role"] == "receptionist"
    assert user["email"] != ask.json("/user")["email"]


def test_a_clinic_has_a_location(ask: Ask) -> None:
    page = ask.json("/businesses")
    assert page["total_entries"] == len(page["businesses"]) == 1
    assert page["businesses"][0]["business_name"] == "Surf Rehab"
