"""POST /api/v1/cliniko/sync/{orgId}, deprecated"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
from flask.testing import FlaskClient

from tests.api.envelope import details_of
from tests.cast import Cast
from webapp.clock import now
from webapp.sync import history


@pytest.fixture
def url(cast: Cast) -> str:
    return f"/api/v1/cliniko/sync/{cast.surf.id}"


def test_it_points_to_sync_all_and_starts_nothing(bob: FlaskClient, url: str, cast: Cast) -> None:
    answer = bob.post(url)

    successor = f"/api/v1/cliniko/sync-all/{cast.surf.id}"
    assert answer.status_code == 308
    assert answer.headers["Location"] == successor
    assert answer.headers["Link"] == (
        f'<{successor}>; rel="successor-version", </api/docs#sync>; rel="deprecation"'
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json()["location"] == successor
    assert history.latest(cast.surf) is None


def test_it_says_since_when_and_until_when(bob: FlaskClient, url: str) -> None:
    answer = bob.post(url)

    deprecated_at = int(answer.headers["Deprecation"].removeprefix("@"))
    ends = parsedate_to_datetime(answer.headers["Sunset"])
    assert answer.headers["Deprecation"].startswith("@")
    assert deprecated_at < ends.timestamp()
    assert ends > now()


def test_clients_that_follow_start_a_full_sync(bob: FlaskClient, url: str, cast: Cast) -> None:
    answer = bob.post(url, follow_redirects=True)

    log = history.latest(cast.surf)
    assert answer.status_code == 200
    assert log is not None
    assert (log.id, log.operation_type) == (answer.get_json()["sync_log_id"], "full_patients")


def test_it_shares_the_limit_of_sync_all(bob: FlaskClient, url: str) -> None:
    before = bob.post(url)
    bob.post(url, follow_redirects=True)
    after = bob.post(url)

    assert (before.status_code, after.status_code) == (308, 308)  # the redirect is never refused
    assert before.headers["X-RateLimit-Remaining"] == "1"
    assert after.headers["X-RateLimit-Remaining"] == "0"
    details_of(bob.post(url, follow_redirects=True), 429, "SYNC_ALREADY_RUNNING")


def test_sync_all_itself_is_not_deprecated(bob: FlaskClient, cast: Cast) -> None:
    answer = bob.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}")

    assert not {"Deprecation", "Sunset", "Link"} & set(answer.headers.keys())
