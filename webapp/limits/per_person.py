"""Per-person limits of the dashboard: files, invitations to addresses already taken (each reveals
an account), key checks (they spend Cliniko's budget), webhook messages (they go to an address the
person chose)."""

from __future__ import annotations

from collections.abc import Callable

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from webapp.errors import RateLimited
from webapp.limits import limiter, refusal
from webapp.models import User

EXPORTS = RateLimitItemPerHour(5, namespace="export")
AUDIT_EXPORTS = RateLimitItemPerHour(5, namespace="audit-export")
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


def count_export(person: User) -> None:
    """Count a file that is allowed otherwise. Raises RateLimited; then it was not counted."""
    _within(limiter.limiter.hit, EXPORTS, person)


def count_audit_export(person: User) -> None:
    """The same for a file of the audit trail, of one clinic or of all."""
    _within(limiter.limiter.hit, AUDIT_EXPORTS, person)


def check_invitations(person: User) -> None:
    """Raises RateLimited for somebody who has asked too often for addresses of other people."""
    _within(limiter.limiter.test, REFUSED_INVITATIONS, person)


def count_refused_invitation(person: User) -> None:
    """Count an invitation that was refused because somebody has the address already. Raises
    RateLimited: of many that were sent at once the last ones are not answered."""
    _within(limiter.limiter.hit, REFUSED_INVITATIONS, person)


def count_key(person: User) -> None:
    """Count a key that Cliniko is asked about, as the API counts connection tests. Raises
    RateLimited; then it was not counted."""
    _within(limiter.limiter.hit, KEYS_TRIED, person)


def count_test_message(person: User) -> None:
    """Count a test message to a webhook; the API has a count of its own. Raises RateLimited; then
    it was not counted."""
    _within(limiter.limiter.hit, TEST_MESSAGES, person)


def count_resent(person: User) -> None:
    """Count sending a webhook message again, or a change of a webhook that sends what waits. The
    API has a count of its own. Raises RateLimited; then it was not counted."""
    _within(limiter.limiter.hit, RESENT, person)


def _within(ask: Callable[..., bool], limit: RateLimitItem, person: User) -> None:
    if ask(limit, str(person.id)):
        return
    resets_at = limiter.limiter.get_window_stats(limit, str(person.id)).reset_time
    words = f"{_WHAT[limit].format(limit.amount)}, which is the most."
    raise refusal(RateLimited, words, resets=resets_at)
