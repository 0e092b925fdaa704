"""The cast, each at a browser, as for the tests of the pages."""

from tests.pages.conftest import alice, bob, charlie, vera, visitor
from tests.support.quick_passwords import quick_passwords

__all__ = ["alice", "bob", "charlie", "quick_passwords", "vera", "visitor"]
