"""How often callers of the API may ask: the table of rates, and the headers that tell of them."""

from __future__ import annotations

import time
from datetime import datetime
from math import ceil

from flask import Flask, Response, after_this_request, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import parse

import webapp.limits.storage  # noqa: F401  (makes its scheme known to the library)
from webapp.auth.bearer import current_actor
from webapp.clock import iso, whole_second
from webapp.durations import remaining_words
from webapp.errors import RateLimited
from webapp.queue import redis_connection

# Each is counted for one person, one clinic and one endpoint, but for those of COUNTED_AS.
BY_CALLER = {
    "api.sync_logs": "60 per minute",
    "api.sync_log": "60 per minute",
    "api.status": "120 per minute",
    "api.schedule": "120 per minute",
    "api.active_patients": "120 per minute",
    "api.changes": "120 per minute",
    "api.test_connection": "10 per minute",
    "api.test_webhook": "10 per minute",
    "api.resend_delivery": "60 per minute",
    "api.change_webhook": "60 per minute",
}
# Another address, and resuming, send again what waits.
COUNTED_AS = {"api.change_webhook": "api.resend_delivery"}
# These are the clinic's, whoever asks: the database counts them (sync/window.py). The redirect
# `sync` only tells of it.
STARTS = {
    "api.sync_all": "1 per 5 minutes",
    "api.sync": "1 per 5 minutes",
    "api.sync_changes": "1 per 5 minutes",
}
RATES = BY_CALLER | STARTS

limiter = Limiter(get_remote_address, strategy="moving-window", headers_enabled=False)


def init_app(app: Flask) -> None:
    """Count in the application's Redis; every answer of a limited endpoint tells of its rate."""
    with app.app_context():
        app.config["RATELIMIT_STORAGE_URI"] = "redis-or-memory://"
        app.config["RATELIMIT_STORAGE_OPTIONS"] = {
            "connection_pool": redis_connection().connection_pool
        }
    limiter.init_app(app)
    app.after_request(_tell_of_uncounted)


def count() -> None:
    """Count this request, if its endpoint has a rate. Call it only once the caller is known to be
    allowed: a refused request uses nothing up.

    Raises RateLimited (details: `retry_at`); then the request was not counted.
    """
    endpoint = request.endpoint or ""
    if endpoint not in BY_CALLER:
        return
    rate = parse(BY_CALLER[endpoint])
    caller_and_clinic = f"{current_actor().id}:{(request.view_args or {})['org_id']}"
    counted = (caller_and_clinic, COUNTED_AS.get(endpoint, endpoint))
    allowed = limiter.limiter.hit(rate, *counted)
    window = limiter.limiter.get_window_stats(rate, *counted)
    tell(rate.amount, window.remaining, whole_second(window.reset_time))
    if not allowed:
        raise refusal(RateLimited, "Too many requests.", resets=window.reset_time)


def refusal(kind: type[RateLimited], words: str, *, resets: float) -> RateLimited:
    """Make the error for something that was done too often: these words, and when it can be tried
    again (details: `retry_at`). `resets` is in Unix seconds."""
    seconds = max(1, ceil(resets - time.time()))
    return kind(
        f"{words} Try again in {remaining_words(seconds)}.",
        retry_after=seconds,
        retry_at=iso(whole_second(resets)),
    )


def tell(limit: int, remaining: int, resets_at: datetime) -> None:
    """Put the rate-limit headers on the answer to this request, whatever it will be."""

    @after_this_request
    def add_headers(response: Response) -> Response:
        return _with_rate(response, limit, remaining, resets_at.timestamp())


def _tell_of_uncounted(response: Response) -> Response:
    """Refusals use nothing up: they tell of the rate as somebody finds it who has not asked yet."""
    rate = RATES.get(request.endpoint or "")
    if rate is not None and "X-RateLimit-Limit" not in response.headers:
        item = parse(rate)
        _with_rate(response, item.amount, item.amount, time.time() + item.get_expiry())
    return response


def _with_rate(response: Response, limit: int, remaining: int, resets: float) -> Response:
    response.headers["X-RateLimit-Limit"] = str(limit)
    response.headers["X-RateLimit-Remaining"] = str(remaining)
    response.headers["X-RateLimit-Reset"] = str(ceil(resets))
    return response
