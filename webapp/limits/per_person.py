"""Per-person limits of the dashboard: files, invitations to addresses already taken (each reveals
an account), key checks (they spend Cliniko's budget), webhook messages (they go to an address the
person chose)."""

from __future__ import annotations

from collections.abc import Callable

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from webapp.errors import RateLimited
from webapp.limits import limiter, refusal
from webapp.models import User

# What the API can do too, it counts by itself.
EXPORTS = RateLimitItemPerHour(5, namespace="export")
AUDIT_EXPORTS = RateLimitItemPerHour(5, namespace="audit-export")
# Counted when they were refused: of many that were sent at once the last ones are not answered.
REFUSED_INVITATIONS = RateLimitItemPerHour(5, namespace="refused-invitation")
KEYS_TRIED = RateLimitItemPerMinute(10, namespace="key-tried")
TEST_MESSAGES = RateLimitItemPerMinute(10, namespace="test-message")
RESENT = RateLimitItemPerMinute(60, namespace="message-resent")
_WHAT: dict[RateLimitItem, str] = {
    EXPORTS: "You have exported patients {} times within an hour",
    AUDIT_EXPORTS: "You have exported events of the audit trail {} times within an hour",
    REFUSED_INVITATIONS: "You have named addresses of others {} times within an hour",
    KEYS_TRIED: "You have tested connections or saved keys {} times within a minute",
    TEST_MESSAGES: "You have sent {} test messages within a minute",
    RESENT: "You have sent messages again, or saved or resumed webhooks, {} times within a minute",
}


def check(limit: RateLimitItem, person: User) -> None:
    """Raises RateLimited for somebody who has done this too often; counts nothing."""
    _within(limiter.limiter.test, limit, person)


def count(limit: RateLimitItem, person: User) -> None:
    """Count what is allowed otherwise. Raises RateLimited; then it was not counted."""
    _within(limiter.limiter.hit, limit, person)


def _within(ask: Callable[..., bool], limit: RateLimitItem, person: User) -> None:
    if ask(limit, str(person.id)):
        return
    resets_at = limiter.limiter.get_window_stats(limit, str(person.id)).reset_time
    words = f"{_WHAT[limit].format(limit.amount)}, which is the most."
    raise refusal(RateLimited, words, resets=resets_at)
