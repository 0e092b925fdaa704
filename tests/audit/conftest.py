"""The cast, each at a browser, as for the tests of the pages."""

from tests.pages.conftest import alice, bob, charlie, vera, visitor

__all__ = ["alice", "bob", "charlie", "vera", "visitor"]
