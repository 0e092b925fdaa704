"""From values to words: the filters of the templates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from webapp.clock import iso, now, zone_name
from webapp.durations import ago_words, duration_words
from webapp.models import ChangeKind, OperationType, Patient, SyncLog, SyncOrigin
from webapp.pages.outcome import outcome
from webapp.services import schedules
from webapp.services.search import fold
from webapp.services.webhooks.line import Problem

_TIME = Markup('<time datetime="{}" title="{}">{}</time>')
_AGO = Markup('<time datetime="{}" title="{}" data-ago>{}</time>')  # app.js goes on with the words
_OPERATIONS = {
    OperationType.FULL_PATIENTS: "Full sync",
    OperationType.ACTIVE_PATIENTS: "Active patients sync",
    OperationType.RETRY_FAILED: "Retry of failed records",
    OperationType.CHANGED_PATIENTS: "Sync of changes",
}
_ORIGINS = {
    SyncOrigin.DASHBOARD: "Dashboard",
    SyncOrigin.API: "API",
    SyncOrigin.COMMAND: "Command line",
    SyncOrigin.SCHEDULE: "Schedule",
}
# Most of them claim to be others too: the first mark that is found decides.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_FIELDS = {
    "first_name": "first name",
    "last_name": "last name",
    "preferred_first_name": "preferred first name",
    "email": "e-mail",
    "phones": "phone numbers",
    "date_of_birth": "date of birth",
}
_REGIONS = {
    "au": "Australia",
    "ca": "Canada",
    "eu": "Europe",
    "uk": "United Kingdom",
    "us": "United States",
}
_PROBLEMS = {
    Problem.TIMED_OUT: "no answer in time",
    Problem.UNREACHABLE: "cannot be reached",
    Problem.UNKNOWN_NAME: "name not found",
    Problem.INSECURE: "TLS or certificate not valid",
    Problem.NOT_PUBLIC: "leads into a private network",
    Problem.NOT_ALLOWED: "address not allowed any more",
    Problem.SECRET_UNREADABLE: "secret cannot be decrypted: make a new one",
}


def clock_of_page(context: Context) -> tzinfo:
    """The clock of the clinic whose page it is; that of UTC on the pages of all."""
    clinic = context.get("clinic")
    return schedules.clock_of(clinic) if clinic else UTC


@pass_context
def moment(context: Context, value: datetime | str | None) -> Markup | str:
    """`23 Nov 2026, 21:30:00 AEDT`, by the clock of the page; a dash for none."""
    if value is None:
        return "—"
    shown = _shown(context, value)
    return _time(shown, _in_full(shown))


@pass_context
def clock(context: Context, value: datetime | str) -> Markup:
    """`21:30:00 AEDT`, for what happens today."""
    shown = _shown(context, value)
    return _time(shown, f"{shown:%H:%M:%S} {zone_name(shown)}")


@pass_context
def planned(context: Context, value: datetime) -> Markup:
    """`Mon 23 Nov 2026, 21:30 AEDT`, for what a timetable names."""
    shown = _shown(context, value)
    return _time(shown, f"{shown:%a} {_date(shown)}, {shown:%H:%M} {zone_name(shown)}")


@pass_context
def ago(context: Context, value: datetime | None) -> Markup | str:
    """`8 min ago`; `never` for none."""
    if value is None:
        return "never"
    words = ago_words((now() - value).total_seconds())
    return _AGO.format(iso(value), _in_full(_shown(context, value)), words)


def day(value: date | None) -> Markup | str:
    """`21 May 2001`; a dash for none."""
    if value is None:
        return "—"
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), _date(value))


def called(patient: Patient) -> str:
    """What a patient is called; `Patient 4711` for whoever has no name that can be seen."""
    name = f"{patient.first_name} {patient.last_name}".strip()
    return name if fold(name).strip() else f"Patient {patient.cliniko_patient_id}"


def took(log: SyncLog) -> str:
    """How long a sync took, or has been running: `2.4s`, `4m 22s`."""
    seconds = log.seconds_so_far
    return duration_words(seconds) if log.is_running else lasted(seconds)


def lasted(seconds: float) -> str:
    """`2.4s`, from a minute on `4m 22s`."""
    return duration_words(seconds) if seconds >= 60 else f"{seconds:.1f}s"


def number(value: int) -> str:
    """`12,904`."""
    return f"{value:,}"


def operation(operation_type: str) -> str:
    """What a sync reads, in words."""
    return _OPERATIONS[OperationType(operation_type)]


def through(log: SyncLog) -> str:
    """By which way a sync was started."""
    return _ORIGINS[SyncOrigin(log.origin)]


def interval(minutes: int) -> str:
    """`every 15 minutes`, `every hour`, `every 2 hours`."""
    if minutes == 60:
        return "every hour"
    return f"every {minutes} minutes" if minutes % 60 else f"every {minutes // 60} hours"


def field_name(field: str) -> str:
    """What a field of a patient is called; its name as it is if that is new to us."""
    return _FIELDS.get(field, field)


def change_count(changes: Mapping[str, int]) -> int:
    """How many changes the metadata of a sync tells of."""
    return sum(changes[kind] for kind in ChangeKind)


def attempt_result(attempt: Mapping[str, Any]) -> str:
    """What came of a try to send a message: the status of the answer, or why there is none."""
    problem = attempt["problem"]
    return str(attempt["status"]) if problem is None else _PROBLEMS[Problem(problem)]


def region(shard: str) -> str:
    """Where a shard of Cliniko lies; the shard itself if its letters are new to us."""
    return _REGIONS.get(shard[:2], shard)


def device(agent: str) -> str:
    """What a browser says of itself, in words: `Firefox on Windows`."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "Unknown browser")
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    return f"{browser} on {system}" if system else browser


def _time(value: datetime, words: str) -> Markup:
    return _TIME.format(iso(value), _in_full(value.astimezone(UTC)), words)


def _in_full(value: datetime) -> str:
    return f"{_date(value)}, {value:%H:%M:%S} {zone_name(value)}"


def _shown(context: Context, value: datetime | str) -> datetime:
    """A moment, or the text of one, by the clock of the page; by that of UTC on the first and the
    last day there can be, which Cliniko may name and a zone can lead out of."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    try:
        return value.astimezone(clock_of_page(context))
    except OverflowError:
        return value.astimezone(UTC)


def _date(value: date) -> str:
    return f"{value.day} {value:%b} {value.year:04}"


ALL = (
    *(moment, clock, planned, ago, day, called),
    *(took, lasted, number, operation, through, interval, region, device, outcome),
    *(field_name, change_count, attempt_result),
)
