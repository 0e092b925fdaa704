"""What Werkzeug makes of the rules of addresses, kept for the next application.

Each of the thousands that tests make has the same hundred, and translating them took most of the
time in which it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.routing import Rule


@pytest.fixture(scope="session", autouse=True)
def compiled_rules() -> Iterator[None]:
    """How an address is built depends on its rule alone, and not on the application."""
    compile_builder = Rule._compile_builder
    known: dict[tuple[Any, ...], Callable[..., tuple[str, str]]] = {}

    def compiled(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        place = (rule.rule, tuple(rule._trace), repr(rule.defaults), append_unknown)
        if place not in known:
            known[place] = compile_builder(rule, append_unknown)
        return known[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", compiled)
        yield
