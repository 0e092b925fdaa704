"""Who asks, and what they may."""

from tests.support.quick_passwords import quick_passwords

__all__ = ["quick_passwords"]
