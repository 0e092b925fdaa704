"""The faults, as data: a line each. The letters and numbers are those of docs/faults.md.

`ends` are the outcomes that are right, `within` how many seconds from the start to the end.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.actions import (
    changes,
    cliniko,
    databases,
    patients,
    processes,
    redis,
    webhooks,
)
from tests.faults.injection import Action
from tests.faults.stages import SYNC_STAGES

DONE = ("completed",)
BAD_RESPONSE = ("failed CLINIKO_BAD_RESPONSE",)
UNAVAILABLE = ("failed CLINIKO_UNAVAILABLE",)
AUTH_FAILED = ("failed CLINIKO_AUTH_FAILED",)
BOTH = ("sqlite", "postgresql")
POSTGRES = ("postgresql",)
SQLITE = ("sqlite",)
EVERYWHERE = ("first", "middle", "last")
EVER: dict[str, Any] = {"times": None}
PAGE = {"on": "/patients", "query": "page=2"}


@dataclass(frozen=True)
class Fault:
    """One fault. `alone`: it hits what others share. `patient`: it takes minutes by nature.
    `quick`: it is in the quick set, too."""

    id: str
    name: str
    action: Action
    ends: tuple[str, ...] = DONE
    within: float = 30.0
    at: tuple[str, ...] = ("any",)
    seeds: int = 3
    databases: tuple[str, ...] = BOTH
    alone: bool = False
    patient: bool = False
    quick: bool = True
    account: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One injection to be made."""

    fault: Fault
    at: str
    seed: int
    database: str

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What tells it from all others."""
        return self.fault.id, self.fault.name, self.at, self.seed, self.database


def cases(*, quick: bool) -> Iterator[Case]:
    """All injections; `quick` those of the quick set: one place or seed each, and no waiting."""
    for number, fault in enumerate(FAULTS):
        if quick and (fault.patient or not fault.quick):
            continue
        databases = fault.databases
        if quick and len(databases) > 1:
            databases = (databases[number % 2],)
        for database in databases:
            places = fault.at if not quick else fault.at[number % len(fault.at) :][:1]
            for at in places:
                for seed in range(1, 2 if quick else fault.seeds + 1):
                    yield Case(fault, at, seed + number * quick, database)


def _cliniko() -> Iterator[Fault]:
    def fault(number: int, name: str, action: Action, *ends: str, **more: Any) -> Fault:
        return Fault(f"C{number}", name, action, ends or DONE, **more)

    def on_a_page(kind: str, **options: Any) -> Action:
        return cliniko.cliniko(kind, **PAGE, **options)

    status, limited = "status", "rate_limited"
    wrong = {"at": EVERYWHERE, "within": 15}
    yield fault(1, "401 at once", cliniko.cliniko(status, status=401, on="*", **EVER), *AUTH_FAILED)
    yield fault(
        2,
        "401 from here on",
        cliniko.cliniko(status, status=401, **EVER),
        *AUTH_FAILED,
        at=EVERYWHERE,
    )
    forbidden = cliniko.cliniko(status, status=403, **EVER)
    yield fault(3, "403 from here on", forbidden, "failed CLINIKO_FORBIDDEN", at=EVERYWHERE)
    yield fault(4, "429, come back in 3 s", cliniko.cliniko(limited, reset_in_s=3), at=EVERYWHERE)
    twenty = cliniko.cliniko(limited, reset_in_s=20)
    yield fault(
        4, "429, come back in 20 s", twenty, patient=True, at=EVERYWHERE, seeds=1, within=40
    )
    yield fault(5, "429 without a time", cliniko.cliniko(limited), at=EVERYWHERE, seeds=2)
    thrice = on_a_page(limited, times=3)
    yield fault(5, "429 three times without a time", thrice, patient=True, within=60, seeds=1)
    for said in ("soon", "-5", "1000", "1.5"):
        again = cliniko.cliniko(limited, reset=said)
        yield fault(6, f"429 with the reset {said}", again, at=EVERYWHERE, seeds=1)
    for said in ("4070908800", "4070908800000"):
        again = cliniko.cliniko(limited, reset=said)
        yield fault(6, f"429, reset {said}", again, patient=True, seeds=1, within=150)
    yield fault(
        6, "429, Retry-After 2", cliniko.cliniko(limited, retry_after=2), at=EVERYWHERE, seeds=1
    )
    for_ever = cliniko.cliniko(limited, reset_in_s=60, on="*", **EVER)
    refused = "failed CLINIKO_RATE_LIMITED"
    yield fault(7, "429 for ever", for_ever, refused, patient=True, within=800, seeds=1)
    for code in (500, 502, 503, 504):
        yield fault(8, f"{code} once", cliniko.cliniko(status, status=code), at=EVERYWHERE, seeds=2)
    for times in (2, 3, 4):
        again = on_a_page(status, status=503, times=times)
        yield fault(8, f"503 {times} times", again, patient=times > 2, seeds=2, within=45)
    asked = cliniko.cliniko(status, status=503, headers={"Retry-After": "2"})
    yield fault(8, "503, Retry-After 2", asked, at=EVERYWHERE, seeds=1)
    for code in (500, 504):
        again = cliniko.cliniko(status, status=code, **EVER)
        yield fault(
            9,
            f"{code} for ever",
            again,
            *UNAVAILABLE,
            at=EVERYWHERE,
            seeds=1,
            within=90,
            patient=True,
        )
    yield fault(9, "503 for ever", on_a_page(status, status=503, **EVER), *UNAVAILABLE, within=90)
    for kind in ("reset_before_headers", "reset_mid_body", "short_body", "broken_chunk"):
        yield fault(10, f"{kind} once", cliniko.cliniko(kind), at=EVERYWHERE, seeds=2)
    gone = cliniko.cliniko("reset_mid_body", **EVER)
    yield fault(
        10, "reset_mid_body for ever", gone, *UNAVAILABLE, at=EVERYWHERE, within=90, seeds=1
    )
    yield fault(10, "nobody listens for 3 s", cliniko.cliniko_closed, alone=True)
    yield fault(
        11, "truncated JSON once", cliniko.cliniko("truncated_json"), at=EVERYWHERE, seeds=2
    )
    cut = cliniko.cliniko("truncated_json", **EVER)
    yield fault(11, "truncated JSON for ever", cut, *BAD_RESPONSE, **wrong, seeds=1)
    hang = cliniko.cliniko("hang")
    yield fault(12, "no answer, once", hang, patient=True, at=EVERYWHERE, seeds=1, within=60)
    drip = cliniko.cliniko("drip", every_s=5)
    yield fault(12, "a byte in 5 s, once", drip, patient=True, at=EVERYWHERE, seeds=1, within=70)
    hang = on_a_page("hang", **EVER)
    yield fault(12, "no answer for ever", hang, *UNAVAILABLE, patient=True, seeds=1, within=240)
    drip = on_a_page("drip", every_s=5, **EVER)
    yield fault(12, "a byte in 5 s for ever", drip, *UNAVAILABLE, patient=True, seeds=1, within=270)
    for kind in ("html_200", "empty_200", "bom", "utf16", "nan", "duplicate_keys"):
        yield fault(13, f"{kind} once", cliniko.cliniko(kind), at=EVERYWHERE, seeds=1)
        again = cliniko.cliniko(kind, **EVER)
        yield fault(13, f"{kind} for ever", again, *BAD_RESPONSE, **wrong, seeds=1)
    nothing = cliniko.cliniko(status, status=204, **EVER)
    yield fault(13, "204 for ever", nothing, *BAD_RESPONSE, **wrong, seeds=1)
    for key in ("patients", "total_entries"):
        again = cliniko.cliniko("missing_key", key=key, **EVER)
        yield fault(14, f"{key} missing", again, *BAD_RESPONSE, **wrong, seeds=1)
    for key, value in (
        ("patients", None),
        ("patients", {}),
        ("total_entries", -1),
        ("total_entries", "many"),
        ("links", "none"),
    ):
        again = cliniko.cliniko("replaced_value", key=key, value=value, **EVER)
        yield fault(14, f"{key} is {value}", again, *BAD_RESPONSE, **wrong, seeds=1)
    for keep in (0, 1, 20):
        short = cliniko.cliniko("short_page", keep=keep)
        yield fault(15, f"a page with {keep} of its patients", short, at=EVERYWHERE, seeds=2)
    sizes = {"active": 1_700, "archived": 9, "merged": 3, "deleted": 4}
    for times in (1, 2):
        empty = cliniko.cliniko("short_page", on="/patients", query="id:>", times=times)
        yield fault(15, f"{times} empty pages within a range", empty, account=sizes, seeds=2)
    for total in (0, 5, 100_000):
        again = cliniko.cliniko("wrong_total", total=total)
        yield fault(15, f"total {total} once", again, at=EVERYWHERE, seeds=2)
    for total in (5, 100_000):
        again = cliniko.cliniko("wrong_total", total=total, **EVER)
        yield fault(15, f"total {total} for ever", again, seeds=2)
    nobody = cliniko.cliniko("short_page", keep=0, **EVER)
    yield fault(15, "every page empty", nobody, *BAD_RESPONSE, within=15)
    for address in (
        "http://127.0.0.1:{port}/v1/patients?page=2",
        "https://127.0.0.1:{port}/v1/patients?page=2",
        "http://localhost:{port}/v1/patients?page=2",
        "http://user@127.0.0.1:{port}/v1/patients",
        "{home}/elsewhere?page=2",
        "{home}/patients?page=1&per_page=100",
        "//127.0.0.1:{port}/v1/patients",
    ):
        leads = cliniko.elsewhere("foreign_next_link", "url", address)
        yield fault(16, f"next leads to {address}", leads, *BAD_RESPONSE, seeds=2, within=15)
    for code in (301, 302, 303, 307, 308):
        leads = cliniko.elsewhere(
            "redirect", "to", "http://127.0.0.1:{port}/v1/patients", status=code
        )
        yield fault(17, f"{code} to another host", leads, *BAD_RESPONSE, seeds=2, within=15)
    for kind in ("ignore_id_filter", "ignore_sort", "ignore_per_page"):
        yield fault(18, kind, cliniko.cliniko(kind, on="/patients*", **EVER))
    everything = [
        {"kind": kind, "on": "/patients*", "times": None}
        for kind in ("ignore_id_filter", "ignore_sort", "ignore_per_page")
    ]
    yield fault(18, "filter, order and size ignored", cliniko.together(*everything))
    late = {"alone": True, "seeds": 1, "quick": False}
    yield fault(19, "no such host", cliniko.no_such_host, *UNAVAILABLE, within=90, **late)
    for which in ("self-signed", "expired", "wrong name", "TLS 1.1", "no TLS"):
        yield fault(20, which, cliniko.insecure(which), *UNAVAILABLE, within=90, **late)
    huge = cliniko.cliniko("big_body", on="/patients", megabytes=200, **EVER)
    yield fault(21, "200 MB", huge, *BAD_RESPONSE, within=60, seeds=1, quick=False)
    bomb = cliniko.cliniko("gzip_bomb", on="/patients", **EVER)
    yield fault(21, "a gzip bomb of 1 GB", bomb, *BAD_RESPONSE, within=60, seeds=1)
    yield fault(22, "down from the middle on, then back", cliniko.outage, *UNAVAILABLE, within=90)


def _patients() -> Iterator[Fault]:
    def fault(number: int, name: str, action: Action, *ends: str, **more: Any) -> Fault:
        return Fault(f"D{number}", name, action, ends or DONE, **more)

    often = {"seeds": 8}
    yield fault(1, "archived meanwhile", patients.life("archive"), **often)
    yield fault(2, "restored meanwhile", patients.life("unarchive", "archive"), **often)
    yield fault(3, "deleted meanwhile", patients.life("delete"), **often)
    yield fault(4, "merged meanwhile", patients.life("merge"), **often)
    yield fault(5, "created meanwhile", patients.life("create", "create far below"), **often)
    yield fault(6, "edited meanwhile", patients.life("edit"), **often)
    everything = ("archive", "unarchive", "delete", "merge", "create", "edit")
    yield fault(6, "all of it meanwhile", patients.life(*everything, changes=40), seeds=20)
    yield fault(7, "twice on a page, in two versions", patients.repeated_record, seeds=5)
    yield fault(8, "ids as numbers", patients.plain, account={"ids_as_numbers": True})
    yield fault(8, "deleted ones show their id", patients.plain, account={"deleted_shows_id": True})
    yield fault(8, "equals shuffled", patients.plain, account={"shuffles_equals": True})
    contents: dict[str, dict[str, Any]] = {
        "a birthday 0000-00-00": {"date_of_birth": "0000-00-00"},
        "a birthday in 9999": {"date_of_birth": "9999-01-01"},
        "U+0000": {"first_name": "A\0B"},
        "a lone surrogate": {"last_name": "\ud800"},
        "a name of 1 MB": {"first_name": "n" * 1_000_000},
        "a number for a name": {"last_name": 7},
        "a text for phones": {"patient_phone_numbers": "0412 345 678"},
        "a phone that is null": {"patient_phone_numbers": [None]},
        "a time that is none": {"created_at": "yesterday"},
        "a merge that leads nowhere": {"merged_with_patient": {}},
    }
    for name, content in contents.items():
        yield fault(9, name, patients.healing(patients.malformed(content)), seeds=2)
    changed = patients.healing(patients.malformed(None, share=0.9))
    yield fault(10, "nine in ten are malformed", changed, *BAD_RESPONSE)
    for count in (0, 1, 49, 50, 51, 99, 100, 101, 199, 200, 201):
        sizes = {"active": count, "archived": count // 3, "merged": 0, "deleted": count // 5}
        yield fault(11, f"{count} patients", patients.plain, account=sizes, seeds=1)
    sizes = {"active": 10_000, "archived": 300, "merged": 3, "deleted": 4}
    yield fault(
        11, "10,000 patients", patients.plain, account=sizes, seeds=1, quick=False, within=60
    )


def _database() -> Iterator[Fault]:
    def fault(number: int, name: str, action: Action, *ends: str, **more: Any) -> Fault:
        more = {"alone": True} | more
        return Fault(f"B{number}", name, action, ends or DONE, **more)

    away = "failed DATABASE_UNAVAILABLE"
    lost = "failed SYNC_INTERRUPTED"
    wrong = "failed DATABASE_CONSTRAINT_ERROR"
    full = "failed STORAGE_FULL"
    yield fault(1, "locked for 3 s", databases.locked(3))
    yield fault(
        2, "locked for minutes", databases.locked(90), away, lost, within=75, seeds=1, quick=False
    )
    yield fault(3, "refuses one record", databases.refused_record)
    yield fault(4, "refuses every record", databases.refused_pages, wrong, within=10)
    yield fault(4, "a column is missing", databases.old_schema, wrong, within=10)
    for code, name in (("40P01", "a deadlock"), ("40001", "a serialization failure")):
        once = databases.raised_by_database(code, 2)
        yield fault(5, f"{name}, said twice", once, databases=POSTGRES)
    yield fault(5, "a real deadlock", databases.deadlock, databases=POSTGRES, within=40)
    filled = databases.full_sqlite("fill the disk")
    yield fault(6, "the disk is full", filled, full, databases=SQLITE)
    # Where there is no room to say so either, another work-horse has to find the sync.
    filled = databases.full_sqlite("fill the disk to its last page")
    unsaid = (full, "completed")
    yield fault(6, "full to the last page", filled, *unsaid, databases=SQLITE, quick=False)
    yield fault(
        6,
        "the disk is full",
        databases.full_tmpfs,
        full,
        databases=POSTGRES,
        within=60,
        quick=False,
    )
    said = databases.raised_by_database("53100", 1000)
    yield fault(6, "says that the disk is full", said, full, databases=POSTGRES)
    yield fault(
        7, "connections ended", databases.terminated, databases=POSTGRES, seeds=5, within=60
    )
    killed = databases.postgres_away(10, signal.SIGQUIT)
    yield fault(8, "away for 10 s", killed, databases=POSTGRES, within=60, seeds=2)
    killed = databases.postgres_away(90, signal.SIGKILL)
    yield fault(
        8,
        "away for 90 s",
        killed,
        lost,
        *DONE,
        databases=POSTGRES,
        within=150,
        seeds=1,
        quick=False,
    )
    killed_all = databases.all_killed_in_a_write
    yield fault(9, "every process killed", killed_all, databases=SQLITE, within=60)
    yield fault(
        10, "no connection is left", databases.connections_used_up, databases=POSTGRES, within=60
    )


def _redis() -> Iterator[Fault]:
    def fault(number: int, name: str, action: Action, *ends: str, **more: Any) -> Fault:
        more = {"alone": True, "seeds": 2} | more
        return Fault(f"Q{number}", name, action, ends or DONE, **more)

    refused = "failed QUEUE_UNAVAILABLE"
    yield fault(1, "down at the start", redis.away_at_start, refused)
    yield fault(2, "dies between commit and queue", redis.dies_at_enqueue, within=90)
    yield fault(3, "dies in the middle, back after 5 s", redis.away_in_the_middle(5), within=60)
    minute = redis.away_in_the_middle(60)
    yield fault(3, "dies in the middle, away for 60 s", minute, within=90, quick=False, seeds=1)
    yield fault(4, "FLUSHALL while queued", redis.forgets("flush"), within=90)
    yield fault(4, "back without its data", redis.forgets("restart"), within=90)
    full, room = ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")
    replica, primary = ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")
    yield fault(5, "out of memory", redis.refuses(full, back=room), refused)
    yield fault(5, "takes no writes", redis.refuses(replica, back=primary), refused)
    slow = {"within": 90, "seeds": 1}
    middle = redis.refuses_in_the_middle(full, back=room)
    yield fault(5, "out of memory in the middle, for 20 s", middle, **slow)
    middle = redis.refuses_in_the_middle(replica, back=primary)
    yield fault(5, "takes no writes in the middle, for 20 s", middle, quick=False, **slow)
    yield fault(6, "hangs for 5 s", redis.hangs(5), within=60)
    yield fault(7, "delivers twice, and an old one", redis.delivered_twice, alone=False)
    yield fault(8, "holds a foreign job", redis.foreign_job, alone=False)


def _processes() -> Iterator[Fault]:
    def fault(number: int, name: str, action: Action, *ends: str, **more: Any) -> Fault:
        return Fault(f"K{number}", name, action, ends or DONE, **({"within": 75} | more))

    for number, what in ((1, "kill"), (2, "kill the parent"), (3, "kill both")):
        whom = {"kill": "work-horse", "kill the parent": "worker", "kill both": "both"}[what]
        for stage in SYNC_STAGES:
            quick = number == 1 or stage in ("stored, not committed", "waiting for the limit")
            done = processes.killed(stage, what)
            yield fault(number, f"{whom} killed: {stage}", done, quick=quick, seeds=3)
    yield fault(1, "worker killed: dequeued", processes.killed("dequeued", "kill"), seeds=3)
    yield fault(3, "everything killed", processes.everything_killed, alone=True, seeds=2)
    yield fault(4, "killed at any moment", processes.killed_at_random, seeds=40)
    yield fault(5, "stopped, replaced, goes on", processes.zombie, seeds=2, within=90)
    held = processes.stopped_with_the_lock
    shown = "failed SYNC_INTERRUPTED"
    rare: dict[str, Any] = {"alone": True, "quick": False, "seeds": 2}
    yield fault(5, "stopped in a write", held, shown, databases=SQLITE, **rare)
    yield fault(6, "told to end", processes.told_to_end, seeds=5)
    poisoned = "failed SYNC_INTERRUPTED"
    yield fault(7, "dies at every attempt", processes.poison, poisoned, seeds=3, within=240)
    yield fault(
        8, "web process killed: row committed", processes.web_killed("row committed"), seeds=5
    )
    yield fault(8, "web process killed: queued", processes.web_killed("queued"), seeds=5)
    yield fault(
        9, "no worker at first", processes.no_worker, alone=True, seeds=1, within=120, quick=False
    )
    never = "failed QUEUE_UNAVAILABLE"
    yield fault(
        9,
        "no worker at all",
        processes.no_worker_for_long,
        never,
        alone=True,
        seeds=1,
        within=340,
        quick=False,
    )
    yield fault(
        9,
        "the last worker dies",
        processes.last_worker_dies,
        poisoned,
        alone=True,
        seeds=1,
        within=75,
        quick=False,
    )
    yield fault(10, "many look at once", processes.two_reapers, seeds=3)
    yield fault(10, "whoever hands over is killed", processes.reaper_killed, seeds=3, within=90)
    yield fault(11, "the log's disk is full", processes.ordered("claimed", "lose the log"), seeds=3)
    sizes = {"active": 30_000, "archived": 0, "merged": 0, "deleted": 0}
    slow = cliniko.cliniko("slow", on=cliniko.LISTS, ms=29_000, times=None)
    late = "failed SYNC_TIMEOUT"
    yield fault(
        12, "longer than it may", slow, late, patient=True, seeds=1, within=1200, account=sizes
    )


def _rest() -> Iterator[Fault]:
    def fault(number: int, name: str, action: Action, *ends: str, **more: Any) -> Fault:
        return Fault(f"X{number}", name, action, ends or DONE, **more)

    alone = {"alone": True, "quick": False}
    yield fault(1, "pressed fifty times at once", changes.pressed_often, seeds=5)
    yield fault(2, "twenty clinics at once", changes.twenty_clinics, seeds=1, within=90, **alone)
    yield fault(
        3,
        "the workers' clocks are off",
        changes.clocks_apart,
        databases=POSTGRES,
        within=60,
        **alone,
    )
    yield fault(4, "another key of the account", changes.key_replaced, seeds=5)
    stranger = "failed CLINIKO_ACCOUNT_MISMATCH"
    yield fault(
        5,
        "the key of another account",
        changes.key_of_another_account,
        stranger,
        at=("first", "middle"),
    )
    rotated = "failed CREDENTIALS_UNREADABLE"
    yield fault(
        6, "keys rotated, the old one gone", changes.keys_rotated, rotated, seeds=1, **alone
    )
    yield fault(7, "the clinic is deleted", changes.clinic_deleted, "gone", seeds=5)
    yield fault(8, "whoever started is disabled", changes.starter_disabled, seeds=5)
    yield fault(9, "migration taken back and applied", changes.migrated_meanwhile, seeds=2, **alone)
    for where in ("reading", "waiting"):
        ended = "failed SYNC_CANCELLED"
        yield fault(10, f"cancelled while {where}", changes.cancelled(where), ended, seeds=5)
    for name, answers, came in (
        ("down", webhooks.says(204), "unreachable"),
        ("500", webhooks.says(500), 500),
        ("silent", webhooks.says(204), "timed_out"),
        ("gone", webhooks.says(410), 410),
        ("302 to us", webhooks.says(302, Location="http://localhost:1/"), 302),
        ("100 MB", webhooks.says(200, bytes(100_000_000)), 200),
    ):
        yield fault(11, f"a webhook's receiver: {name}", webhooks.told(answers, came), seeds=3)


FAULTS = (*_cliniko(), *_patients(), *_database(), *_redis(), *_processes(), *_rest())
