"""Asks every route as everybody, and compares each answer with the table."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from flask import Flask
from redis import Redis
from werkzeug.test import TestResponse

from tests.access.actors import ANYBODY, Actor
from tests.access.clinics import Clinic
from tests.access.headers import wrong_headers
from tests.access.table import METHODS, Door, Route
from tests.pages.visitor import text_of
from webapp.models import Role

CHANGING = ("POST", "PATCH", "DELETE")
GONE = 999  # no clinic has this id, though somebody still belongs to it
NO_IDS = ("abc", "0", "-1", "\uff11\uff12\uff13", str(2**63))
NO_CHILDREN = ("abc", "0", str(2**63))
FOR_EVERYBODY = ("own", "other")  # the kinds of ids that all who are nobody try
ONE_WAY = (False, False)  # neither mixed nor by htmx
# What records a refusal: somebody entered a password that is not theirs.
RECORDS_REFUSALS = (
    "/sign-in",
    "/account/password",
    "/confirm",
    "/account/second-factor",
    "/account/second-factor/recovery-codes",
    "/account/second-factor/remove",
)
# Whatever is asked for may be recorded, and every refusal is.
AUDIT_TABLES = ("audit_chains", "audit_events")
# What a reading request may change all the same: when the connection was last tried.
CHANGES_BY_READING = "/api/v1/cliniko/test-connection/<org_id>"


@dataclass(frozen=True)
class Target:
    """What an address names: a clinic, and perhaps a sync or a patient."""

    kind: str  # own, other, missing, no id or child; `own` also where no clinic is named
    clinic: str = ""
    child: str = ""
    shows: Clinic | None = None


@dataclass(frozen=True)
class Case:
    """One request."""

    route: Route
    method: str
    actor: Actor
    target: Target
    mixed: bool  # with the credential of somebody else at the other door
    htmx: bool

    def __str__(self) -> str:
        ways = " mixed" * self.mixed + " htmx" * self.htmx
        clinic = f"{self.target.kind} {self.target.clinic} {self.target.child}".rstrip()
        return f"{self.method} {self.route.rule} [{clinic}] as {self.actor.name}{ways}"

    @property
    def column(self) -> str:
        """Where the table tells of it."""
        actor, kind = self.actor, self.target.kind
        if actor.role is None:
            return "nobody"
        if kind == "no id":
            return kind
        if actor.role is Role.ADMIN:
            kind = "own" if kind == "other" else kind
        elif not actor.belongs_somewhere and self.route.names_a_clinic:
            kind = "other" if kind in ("own", "child") else kind
        if kind == "child":
            let_in = self.route.expected(self.method, f"own {actor.role}") < 400
            return kind if let_in else f"own {actor.role}"
        return f"{kind} {actor.role}"

    @property
    def status(self) -> int:
        """What the table says, in the words of htmx if it asks."""
        status = self.route.expected(self.method, self.column)
        sent_to_sign_in = self.column == "nobody" and self.route.door is Door.SESSION
        return 401 if self.htmx and sent_to_sign_in and status == 303 else status


@dataclass
class Walk:
    """All cases, one after the other, on one application and one database.

    Every case begins with an empty Redis, so that no limit on callers is met: these have tests of
    their own. Whatever a case has changed is put back after it.
    """

    app: Flask
    redis: Redis
    database: Path
    routes: list[Route]
    actors: list[Actor]
    surf: Clinic
    north: Clinic
    tried: int = 0
    told: set[str] = field(default_factory=set)  # the words of clinics that anybody was told
    refusals: dict[tuple[object, ...], set[str]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Try every case and write down what is not as the table says."""
        client = self.app.test_client(use_cookies=False)
        file, pristine = sqlite3.connect(self.database), sqlite3.connect(":memory:")
        file.backup(pristine)
        version, content = _version(file), _content(file)
        for case in self.cases():
            self.redis.flushdb()
            last = _last_event(file)
            answer = client.open(**self._request(case))
            self.tried += 1
            changed = _version(file) != version and _content(file) != content
            self._compare(case, answer)
            self.complaints += [f"{case}: {fault}" for fault in self._faults(case, answer, changed)]
            if answer.status_code == 403 and _events_since(file, last) != ["access:denied"]:
                self.complaints.append(f"{case}: the refusal was not recorded once")
            answer.close()
            if changed:
                pristine.backup(file)
            version = _version(file)
        file.close()
        pristine.close()

    def cases(self) -> Iterator[Case]:
        """Every route and method as everybody, for every kind of id, in every way of asking; a
        method that the route does not have, and what is no id, in one way. Of all who are nobody,
        and are refused before anything is looked at, one tries every id and every method."""
        for route, method in product(self.routes, METHODS):
            actors = [actor for actor in self.actors if route.door in actor.doors]
            ways = [ONE_WAY]
            if route.has(method):
                ways = [*product((False, True), [False] if route.is_api else [False, True])]
            for actor, target in product(actors, self._targets(route, method)):
                everybody = route.has(method) and target.kind in FOR_EVERYBODY
                if everybody or actor.role or actor.name == ANYBODY:
                    for mixed, htmx in [ONE_WAY] if target.kind == "no id" else ways:
                        yield Case(route, method, actor, target, mixed, htmx)

    def _targets(self, route: Route, method: str) -> list[Target]:
        """The ids to try. Those of a method that is not there are not looked at."""
        kinds = ("patient_id", "delivery_id", "webhook_id")
        kind = next((each for each in kinds if f"<{each}>" in route.rule), "sync_id")
        surf, north = self.surf, self.north
        own_child, others_child = str(getattr(surf, kind)), str(getattr(north, kind))
        own = Target("own", str(surf.id), own_child, surf)
        if not route.has(method) or not route.names_a_clinic:
            return [own]
        targets = [
            own,
            Target("other", str(north.id), others_child, north),
            Target("missing", str(GONE), own_child),
            *(Target("no id", no_id, own_child) for no_id in NO_IDS),
        ]
        if route.has_child:
            children = (others_child, *NO_CHILDREN)
            targets += [Target("child", own.clinic, child, surf) for child in children]
        return targets

    def _request(self, case: Case) -> dict[str, Any]:
        actor, target, door = case.actor, case.target, case.route.door
        somebody_else = self.actors[1] if actor.role is Role.ADMIN else self.actors[0]
        headers = {"HX-Request": "true"} if case.htmx else {}
        shown = actor if door is Door.TOKEN else somebody_else if case.mixed else None
        if shown is not None and shown.token is not None:
            headers["Authorization"] = f"Bearer {shown.token}"
        keeps = actor if door is not Door.TOKEN else somebody_else if case.mixed else None
        if keeps is not None:
            headers["Cookie"] = keeps.cookie
        values = {"org_id": target.clinic, "path:filename": "app.css"}
        path = re.sub("<(.+?)>", lambda name: values.get(name[1], target.child), case.route.rule)
        request: dict[str, Any] = {"path": path, "method": case.method, "headers": headers}
        if case.method not in ("GET", "HEAD", "OPTIONS", "TRACE"):
            clinic = target.shows or self.surf
            form = {"name": "Renamed", "api_key": clinic.key, "csrf_token": actor.csrf}
            form |= {"address": "https://example.com/", "events": "sync.failed"}
            request |= {"json": {}} if case.route.is_api else {"data": form}
        return request

    def _faults(self, case: Case, answer: TestResponse, changed: bool) -> Iterator[str]:
        status, expected = answer.status_code, case.status
        # htmx gets a fragment where a plain form is led back to the page.
        fragment = case.htmx and expected == 303 and status == 200 and case.actor.role is not None
        if status != expected and not fragment:
            yield f"{status} in place of {expected}"
        may_change = case.method in CHANGING or case.route.rule == CHANGES_BY_READING
        records = case.method == "POST" and case.route.rule in RECORDS_REFUSALS
        refused = status >= 400 or case.actor.role is None
        if changed and not records and (refused or not may_change):
            yield "the database was changed"
        no_store = answer.headers.get("Cache-Control") == "no-store"
        if case.route.door is not Door.OPEN and not no_store:
            yield "a browser may keep it"
        if case.method == "HEAD" and answer.data:
            yield "an answer to HEAD has a body"
        if status == 405 and set(answer.headers.get("Allow", "").split(", ")) != _allowed(
            case.route
        ):
            yield f"Allow is {answer.headers.get('Allow')}"
        if status >= 400 and case.route.is_api and case.method != "HEAD" and not _envelope(answer):
            yield "the refusal has another shape"
        yield from wrong_headers(answer, answer.request.path)
        yield from self._told(case, answer)

    def _told(self, case: Case, answer: TestResponse) -> Iterator[str]:
        text = f"{answer.headers}{answer.get_data(as_text=True)}"
        may_know = self._may_know(case, answer)
        for clinic in (self.surf, self.north):
            words = {word for word in clinic.words if word in text}
            if words and clinic not in may_know:
                yield f"it tells {sorted(words)}"
            self.told |= words

    def _may_know(self, case: Case, answer: TestResponse) -> list[Clinic]:
        let_in = answer.status_code < 400 or answer.status_code == 422  # the same page once more
        if case.actor.clinic is not None and let_in:
            return [case.actor.clinic]
        if case.actor.role is Role.ADMIN and let_in:
            shown = case.target.shows if case.route.names_a_clinic else None
            return [shown] if shown else [self.surf, self.north]
        return []

    def _compare(self, case: Case, answer: TestResponse) -> None:
        """Keep what people are told of a clinic of others and of none, but for the id itself."""
        of_others = case.actor.role in (Role.VIEWER, Role.MANAGER)
        if of_others and case.target.kind in ("other", "missing"):
            told = text_of(answer) if answer.mimetype == "text/html" else answer.text
            told = re.sub(rf"\b{case.target.clinic}\b", "ID", told)
            key = (case.route.rule, case.method, case.actor.name, case.mixed, case.htmx)
            self.refusals.setdefault(key, set()).add(told)


def _allowed(route: Route) -> set[str]:
    return {*route.methods, "OPTIONS", *({"HEAD"} if "GET" in route.methods else ())}


def _envelope(answer: TestResponse) -> bool:
    body = answer.get_json(silent=True) or {}
    return list(body) == ["error", "message", "error_code", "details"] and body["error"] is True


def _content(file: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Everything but the audit trail."""
    names = [
        name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    tables = sorted({*names} - {*AUDIT_TABLES, "sqlite_sequence"})
    return [row for name in tables for row in file.execute(f"SELECT '{name}', * FROM {name}")]


def _last_event(file: sqlite3.Connection) -> int:
    number: int | None = file.execute("SELECT max(id) FROM audit_events").fetchone()[0]
    return number or 0


def _events_since(file: sqlite3.Connection, last: int) -> list[str]:
    rows = file.execute("SELECT event FROM audit_events WHERE id > ?", (last,))
    return [event for (event,) in rows]


def _version(file: sqlite3.Connection) -> int:
    """Differs from the one before if anybody else has committed a change meanwhile."""
    number: int = file.execute("PRAGMA data_version").fetchone()[0]
    return number
