"""Every route, method, person and clinic against `matrix.txt`."""

from __future__ import annotations

from collections.abc import Callable

from tests.access.actors import ANYBODY
from tests.access.conftest import TOTALS
from tests.access.table import METHODS, routes
from tests.access.walk import NO_CHILDREN, NO_IDS, Walk


def test_every_route_and_method_stands_in_the_table(walk: Walk) -> None:
    there: dict[str, set[str]] = {}
    for rule in walk.app.url_map.iter_rules():
        assert rule.methods is not None
        methods = rule.methods - {"HEAD", "OPTIONS"}
        assert methods <= set(METHODS), rule
        there.setdefault(rule.rule, set()).update(methods)

    assert there == {route.rule: set(route.methods) for route in routes()}


def test_every_answer_is_what_the_table_says(
    walk: Walk, record_property: Callable[[str, object], None]
) -> None:
    record_property(TOTALS, f"{walk.tried} cases, {len(walk.complaints)} mismatches")
    assert walk.complaints == []


def test_no_case_was_left_out(walk: Walk) -> None:
    expected = 0
    for route in walk.routes:
        there = set(route.methods) | ({"HEAD"} if "GET" in route.methods else set())
        ids = for_everybody = len(["own"])
        no_ids = 0
        if route.names_a_clinic:
            for_everybody += len(["other"])
            ids += len(["other", "missing"])
            no_ids = len(NO_IDS)
        if route.has_child:
            ids += len(["another clinic's"]) + len(NO_CHILDREN)
        people = [actor for actor in walk.actors if route.door in actor.doors]
        try_all = sum(actor.role is not None or actor.name == ANYBODY for actor in people)
        ways = len(["plain", "mixed"]) * (1 if route.is_api else len(["page", "fragment"]))
        asked = (ids * ways + no_ids) * try_all + for_everybody * ways * (len(people) - try_all)
        expected += len(there) * asked + len({*METHODS} - there) * try_all

    assert walk.tried == expected


def test_a_clinic_of_others_looks_like_one_that_does_not_exist(walk: Walk) -> None:
    assert walk.refusals
    assert {key: told for key, told in walk.refusals.items() if len(told) != 1} == {}


def test_what_must_not_be_told_is_told_to_those_who_may_know(walk: Walk) -> None:
    assert walk.told >= {"surfword", "!s!!", "1888-07-06", "6 Jul 1888", "7700000001"}
    assert walk.told >= {"northword", "!n!!", "1888-05-04", "4 May 1888", "7700000002"}
