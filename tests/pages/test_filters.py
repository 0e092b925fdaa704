"""Values in words"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from flask import Flask

from webapp.clock import now
from webapp.models import OperationType, Organization, SyncLog, SyncStatus
from webapp.pages import filters
from webapp.pages.outcome import Outcome, outcome

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
Drawn = Callable[..., str]
MORNING = datetime(2026, 3, 2, 9, 5, 7, tzinfo=UTC)


@pytest.fixture
def drawn(app: Flask) -> Drawn:
    def draw(template: str, value: object, clinic: Organization | None = None) -> str:
        return app.jinja_env.from_string(template).render(value=value, clinic=clinic)

    return draw


def in_zone(name: str | None) -> Organization:
    return Organization(name="Northside", time_zone=name)


@pytest.mark.parametrize("clinic", [None, in_zone(None), in_zone("Atlantis/Capital")])
def test_a_moment_is_said_in_utc_where_no_zone_is_known(
    drawn: Drawn, clinic: Organization | None
) -> None:
    assert drawn("{{ value|moment }}", MORNING, clinic) == (
        '<time datetime="2026-03-02T09:05:07Z" title="2 Mar 2026, 09:05:07 UTC">'
        "2 Mar 2026, 09:05:07 UTC</time>"
    )
    assert drawn("{{ value|moment }}", None, clinic) == "—"


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("Australia/Sydney", "2 Mar 2026, 20:05:07 AEDT"),
        ("Pacific/Auckland", "2 Mar 2026, 22:05:07 NZDT"),
        ("America/Vancouver", "2 Mar 2026, 01:05:07 PST"),
        ("America/Sao_Paulo", "2 Mar 2026, 06:05:07 UTC-03"),
        ("Pacific/Pago_Pago", "1 Mar 2026, 22:05:07 SST"),
    ],
)
def test_on_a_page_of_a_clinic_a_moment_is_the_clinics_own_and_utc_for_machines(
    drawn: Drawn, zone: str, words: str
) -> None:
    assert drawn("{{ value|moment }}", MORNING, in_zone(zone)) == (
        f'<time datetime="2026-03-02T09:05:07Z" title="2 Mar 2026, 09:05:07 UTC">{words}</time>'
    )
    assert f'title="{words}" data-ago>' in drawn("{{ value|ago }}", MORNING, in_zone(zone))


@pytest.mark.parametrize(
    ("moment", "zone", "machines", "words"),
    [
        (
            datetime(1, 1, 1, tzinfo=UTC),
            "America/New_York",
            "0001-01-01T00:00:00Z",
            "1 Jan 0001, 00:00:00 UTC",
        ),
        (
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
            "Australia/Sydney",
            "9999-12-31T23:59:59Z",
            "31 Dec 9999, 23:59:59 UTC",
        ),
    ],
)
def test_a_moment_that_a_zone_leads_out_of_all_calendars_is_said_in_utc(
    drawn: Drawn, moment: datetime, zone: str, machines: str, words: str
) -> None:
    assert drawn("{{ value|moment }}", moment, in_zone(zone)) == (
        f'<time datetime="{machines}" title="{words}">{words}</time>'
    )
    assert f'title="{words}" data-ago>' in drawn("{{ value|ago }}", moment, in_zone(zone))


def test_a_clock_takes_moments_and_their_text(drawn: Drawn) -> None:
    assert ">09:05:07 UTC<" in drawn("{{ value|clock }}", MORNING)
    sydney = in_zone("Australia/Sydney")
    assert ">20:05:07 AEDT<" in drawn("{{ value|clock }}", "2026-03-02T09:05:07Z", sydney)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox on Linux",
        ),
        (f"{WINDOWS} Chrome/140.0.0.0 Safari/537.36", "Chrome on Windows"),
        (f"{WINDOWS} Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge on Windows"),
        (f"{MAC} Version/18.5 Safari/605.1.15", "Safari on macOS"),
        (f"{PHONE} Version/18.5 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        (f"{PHONE} CriOS/140.0 Mobile/15E148 Safari/604.1", "Chrome on iPhone"),
        (
            "Mozilla/5.0 (Linux; Android 10; K) Chrome/140.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("curl/8.5.0", "Unknown browser"),
        ("", "Unknown browser"),
    ],
)
def test_a_browser_is_called_by_its_name(agent: str, words: str) -> None:
    assert filters.device(agent) == words


def test_ago(drawn: Drawn) -> None:
    assert ">8 min ago<" in drawn("{{ value|ago }}", now() - timedelta(minutes=8))
    assert drawn("{{ value|ago }}", None) == "never"


def test_a_day_has_no_time() -> None:
    born = '<time datetime="1951-05-05">5 May 1951</time>'
    assert filters.day(date(1951, 5, 5)) == born
    assert filters.day(None) == "—"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0.0s"), (2.44, "2.4s"), (59.9, "59.9s"), (262, "4m 22s")]
)
def test_how_long_a_sync_took(seconds: float, words: str) -> None:
    log = SyncLog(
        status=SyncStatus.COMPLETED,
        started_at=MORNING,
        completed_at=MORNING + timedelta(seconds=seconds),
    )
    assert filters.took(log) == words


def test_numbers_operations_and_regions() -> None:
    assert filters.number(12904) == "12,904"
    assert filters.operation(OperationType.ACTIVE_PATIENTS) == "Active patients sync"
    assert filters.region("uk2") == "United Kingdom"
    assert filters.region("nz1") == "nz1"


@pytest.mark.parametrize(
    ("status", "failed", "error_code", "expected"),
    [
        ("running", 2, None, Outcome.RUNNING),
        ("completed", 0, None, Outcome.COMPLETED),
        ("completed", 2, None, Outcome.PARTLY),
        ("failed", 0, "SYNC_CANCELLED", Outcome.CANCELLED),
        ("failed", 0, "CLINIKO_FORBIDDEN", Outcome.FAILED),
    ],
)
def test_the_outcome_of_a_sync(
    status: str, failed: int, error_code: str | None, expected: Outcome
) -> None:
    log = SyncLog(status=status, records_failed=failed, error_code=error_code)
    assert outcome(log) is expected
