"""The order of a listing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator import ClinikoAccount, Simulator
from tests.simulator.asking import KEY, Ask


def records(ask: Ask, **params: str) -> list[dict[str, Any]]:
    return [record for page in ask.pages(per_page=50, **params) for record in page]


def by(*fields: str) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    return lambda record: tuple(record[field] or "" for field in fields)


def test_the_oldest_comes_first_unless_said(ask: Ask) -> None:
    created = [record["created_at"] for record in records(ask)]
    assert created == sorted(created)
    assert created != sorted(created, reverse=True)


def test_order_turns_it_round(ask: Ask) -> None:
    created = [record["created_at"] for record in records(ask, order="desc")]
    assert created == sorted(created, reverse=True)


def test_ids_are_sorted_as_numbers(account: ClinikoAccount, ask: Ask) -> None:
    account.create(id=99)
    ids = [int(each) for each in ask.walk(sort="id")]
    assert ids == sorted(ids)
    assert ids[0] == 99
    assert [int(each) for each in ask.walk(sort="id:desc")] == ids[::-1]
    assert [int(each) for each in ask.walk(sort="id", order="desc")] == ids[::-1]


@pytest.mark.parametrize("column", ["updated_at", "last_name", "email", "date_of_birth"])
def test_any_field_can_be_sorted_by(ask: Ask, column: str) -> None:
    found = records(ask, sort=column)
    assert found == sorted(found, key=by(column))


def test_several_columns_each_have_their_direction(ask: Ask) -> None:
    found = records(ask, sort="last_name:desc,first_name")
    expected = sorted(found, key=by("first_name"))
    expected.sort(key=by("last_name"), reverse=True)
    assert [by("last_name", "first_name")(each) for each in found] == [
        by("last_name", "first_name")(each) for each in expected
    ]


def test_a_column_may_say_otherwise_than_the_order(ask: Ask) -> None:
    assert ask.walk(sort="id:asc", order="desc") == ask.walk(sort="id")


@pytest.mark.parametrize("sort", ["notes", "id:up", "", "id,"])
def test_it_refuses_what_cannot_be_sorted_by(ask: Ask, sort: str) -> None:
    assert ask("/patients", {"sort": sort}).status_code == 400
    assert ask("/patients", {"order": "up"}).status_code == 400


def test_equals_do_not_come_in_the_order_of_their_ids(ask: Ask, account: ClinikoAccount) -> None:
    same = [account.create(created_at="2030-01-01T00:00:00Z") for _ in range(30)]
    listed = ask.ids(per_page=30, order="desc")
    assert sorted(listed) == sorted(same)
    assert listed not in (sorted(same), sorted(same, reverse=True))
    assert ask.ids(per_page=30, order="desc") == listed


def test_equals_can_come_in_another_order_at_each_request() -> None:
    account = ClinikoAccount(shuffles_equals=True)
    account.add_key(KEY)
    same = [account.create(created_at="2030-01-01T00:00:00Z") for _ in range(30)]
    with Simulator(account) as cliniko:
        ask = Ask(cliniko)
        orders = {tuple(ask.ids()) for _ in range(4)}
        by_id = ask.ids(sort="id")
        ask.session.close()
    assert len(orders) > 1
    assert all(sorted(order) == sorted(same) for order in orders)
    assert by_id == same
