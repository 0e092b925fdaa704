"""Rules 24 to 26: what the first reference did not have, limits, and tokens only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
import requests

from tests.cast import PASSWORD
from tests.contract.envelope import refused
from tests.support.processes import wait_until
from tests.support.running_system import Caller, Clinic, RunningSystem
from webapp.clock import now


def signed_in(system: RunningSystem, clinic: Clinic) -> requests.Session:
    """A browser in which the manager of the clinic has signed in."""
    browser = requests.Session()
    page = browser.get(f"{system.url}/sign-in", timeout=30).text
    csrf = page.split('name="csrf_token" value="')[1].split('"')[0]
    email = f"manager-{clinic.name.split()[1]}@example.com"
    form = {"csrf_token": csrf, "email": email, "password": PASSWORD}
    home = browser.post(f"{system.url}/sign-in", data=form, timeout=30)
    assert clinic.name in home.text
    return browser


@pytest.mark.rule(24)
def test_an_e_mail_address_and_a_password_give_a_token(
    system: RunningSystem, clinic: Clinic
) -> None:
    email = f"manager-{clinic.name.split()[1]}@example.com"

    answer = system.nobody.post("/auth/token", json={"email": email, "password": PASSWORD})

    body = answer.json()
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert body["token_type"] == "Bearer"
    assert abs(claims["exp"] - now().timestamp() - body["expires_in"]) < 5
    caller = Caller(system.url, body["access_token"])
    assert caller.get("/organizations").json() == {
        "organizations": [
            {
                "id": clinic.id,
                "name": clinic.name,
                "cliniko_id": None,
                "configured": True,
                "disabled": False,
            }
        ]
    }


@pytest.mark.rule(24)
def test_the_system_describes_itself(system: RunningSystem) -> None:
    assert system.nobody.get("/openapi.json").json()["openapi"].startswith("3.1")
    assert system.nobody.get("//api/docs").headers["Content-Type"].startswith("text/html")
    assert system.nobody.get("//healthz").json() == {"status": "alive"}
    assert system.nobody.get("//readyz").json() == {"status": "ready"}
    token = {"Authorization": "Bearer a token that opens the metrics"}

    def both_workers_are_told_of() -> bool:
        return "patient_sync_workers 2.0" in system.nobody.get("//metrics", headers=token).text

    wait_until(both_workers_are_told_of)


@pytest.mark.rule(25)
@pytest.mark.parametrize(
    ("name", "limit"),
    [("sync-logs", 60), ("status", 120), ("active-patients", 120), ("test-connection", 10)],
)
def test_both_web_processes_together_let_exactly_so_many_pass(
    clinic: Clinic, name: str, limit: int
) -> None:
    path = f"/cliniko/{name}/{clinic.id}"
    forged = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in range(limit + 20)]

    def ask(headers: dict[str, str]) -> requests.Response:
        headers["Authorization"] = f"Bearer {clinic.manager.token}"
        return requests.get(f"{clinic.manager.url}/api/v1{path}", headers=headers, timeout=60)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, forged))

    assert sorted(answer.status_code for answer in answers) == [200] * limit + [429] * 20
    for answer in answers:
        assert answer.headers["X-RateLimit-Limit"] == str(limit)
        assert 0 <= int(answer.headers["X-RateLimit-Remaining"]) < limit
        assert 0 <= int(answer.headers["X-RateLimit-Reset"]) - now().timestamp() <= 61
        if answer.status_code == 429:
            details = refused(answer, 429, "RATE_LIMITED")
            assert details["retry_at"].endswith("Z")
            assert 1 <= int(answer.headers["Retry-After"]) <= 61


@pytest.mark.rule(25)
def test_refusals_tell_of_the_limit_and_use_nothing_up(
    system: RunningSystem, clinic: Clinic, other: Clinic
) -> None:
    path = f"/cliniko/status/{clinic.id}"
    answers = [system.nobody.get(path), other.manager.get(path)]

    for answer in answers:
        assert answer.headers["X-RateLimit-Limit"] == "120"
        assert answer.headers["X-RateLimit-Remaining"] == "120"
    assert clinic.manager.get(path).headers["X-RateLimit-Remaining"] == "119"
    started = clinic.manager.post(f"/cliniko/sync-all/{clinic.id}")
    assert [started.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining")] == ["1", "0"]


@pytest.mark.rule(25)
def test_fifty_starts_at_once_start_one_sync(clinic: Clinic) -> None:
    def start(_: int) -> int:
        headers = {"Authorization": f"Bearer {clinic.manager.token}"}
        url = f"{clinic.manager.url}/api/v1/cliniko/sync-all/{clinic.id}"
        return requests.post(url, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(50) as fifty:
        answers = sorted(fifty.map(start, range(50)))

    assert answers == [200] + [429] * 49


@pytest.mark.rule(25)
def test_the_dashboards_own_polling_uses_nothing_up(system: RunningSystem, clinic: Clinic) -> None:
    log = clinic.synced()
    browser = signed_in(system, clinic)
    progress = f"{system.url}/clinics/{clinic.id}/syncs/{log['id']}/progress"

    answers = {browser.get(progress, timeout=30).status_code for _ in range(130)}

    assert answers == {200}
    used = clinic.manager.get(f"/cliniko/status/{clinic.id}").headers
    assert used["X-RateLimit-Remaining"] == "119"


@pytest.mark.rule(26)
def test_the_cookie_of_the_dashboard_opens_nothing(system: RunningSystem, clinic: Clinic) -> None:
    answer = signed_in(system, clinic).get(
        f"{system.url}/api/v1/cliniko/status/{clinic.id}", timeout=30
    )

    refused(answer, 401, "AUTHENTICATION_REQUIRED")
    assert "Set-Cookie" not in answer.headers
