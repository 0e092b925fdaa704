"""What a request asks of a list: which page, in which order, through which filters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from simulator.exchange import Params, Refusal
from simulator.filters import FieldType, Filter, read_filter

Sort = tuple[tuple[str, bool], ...]  # columns and whether each descends

DEFAULT_PER_PAGE = 50
MOST_PER_PAGE = 100

LIST_PARAMETERS = frozenset({"page", "per_page", "sort", "order", "q", "q[]"})

_ORDERS = {"asc": False, "desc": True}
# Reported by integrators, not documented: it brings archived patients into /patients.
_WITH_ARCHIVED = "archived_at:*"


@dataclass(frozen=True, slots=True)
class Query:
    page: int
    per_page: int
    sort: Sort
    filters: tuple[Filter, ...]
    with_archived: bool

    @property
    def window(self) -> slice:
        return slice((self.page - 1) * self.per_page, self.page * self.per_page)


def read_query(
    params: Params, fields: Mapping[str, FieldType], *, strict: bool, may_add_archived: bool = False
) -> Query:
    """Return the query in the parameters of a list; Refusal 400 where they make no sense.

    Strict refuses what is not documented. Else an unknown parameter is passed over, `per_page`
    above the most is lowered to it, and `may_add_archived` lets `archived_at:*` through.
    """
    refuse_unknown(params, strict=strict, known=LIST_PARAMETERS)
    values = dict(params)
    per_page = _positive(values, "per_page", DEFAULT_PER_PAGE)
    if strict and per_page > MOST_PER_PAGE:
        raise Refusal(400, f"per_page is at most {MOST_PER_PAGE}")
    filters = [text for name, text in params if name in ("q", "q[]")]
    with_archived = may_add_archived and not strict and _WITH_ARCHIVED in filters
    if with_archived:
        filters = [text for text in filters if text != _WITH_ARCHIVED]
    return Query(
        page=_positive(values, "page", 1),
        per_page=min(per_page, MOST_PER_PAGE),
        sort=_read_sort(values, fields),
        filters=tuple(read_filter(text, fields) for text in filters),
        with_archived=with_archived,
    )


def refuse_unknown(params: Params, *, strict: bool, known: frozenset[str] = frozenset()) -> None:
    """Raise Refusal 400 if strict and a parameter is not among the known ones."""
    for name, _ in params:
        if strict and name not in known:
            raise Refusal(400, f"{name} is not a parameter here")


def links(address: str, params: Params, query: Query, total: int) -> dict[str, str]:
    """Return the links of a page. All parameters stay; a link that does not apply is absent."""
    others = [(name, value) for name, value in params if name != "page"]

    def link(page: int) -> str:
        return f"{address}?{urlencode([*others, ('page', str(page))])}"

    found = {"self": link(query.page)}
    if query.page * query.per_page < total:
        found["next"] = link(query.page + 1)
    if query.page > 1:
        found["previous"] = link(query.page - 1)
    return found


def _positive(values: Mapping[str, str], name: str, otherwise: int) -> int:
    text = values.get(name, str(otherwise))
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise Refusal(400, f"{name} is not a whole number from 1: {text}")
    return int(text)


def _read_sort(values: Mapping[str, str], fields: Mapping[str, FieldType]) -> Sort:
    order = values.get("order", "asc")
    if order not in _ORDERS:
        raise Refusal(400, f"order is asc or desc: {order}")
    columns = []
    for part in values.get("sort", "created_at").split(","):
        column, _, direction = part.partition(":")
        if column not in {*fields, "created_at"} or (direction or order) not in _ORDERS:
            raise Refusal(400, f"cannot be sorted by {part}")
        columns.append((column, _ORDERS[direction or order]))
    return tuple(columns)
