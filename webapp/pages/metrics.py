"""GET /metrics: what Prometheus reads. Everything comes from the database and Redis, so it does not
matter which web process is asked; clinics are told by id, and nothing of patients is in it."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Response, current_app, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from webapp import queue
from webapp.errors import NotFound
from webapp.pages.blueprints import open_to_all
from webapp.services import notices
from webapp.services.webhooks import deliveries
from webapp.sync import figures


class _State(Collector):
    def collect(self) -> Iterator[Metric]:
        state = figures.read()
        syncs = CounterMetricFamily(
            "patient_sync_syncs", "Syncs, by outcome.", labels=["status", "error_code"]
        )
        for (status, error_code), count in state.outcomes.items():
            syncs.add_metric([status, error_code], count)
        yield syncs
        yield _gauge(
            "oldest_beat_seconds",
            "Since the quietest running sync was heard of.",
            state.oldest_beat_seconds,
        )
        yield _gauge("queue_length", "Syncs that wait for a worker.", queue.length())
        yield _gauge("workers", "Workers that are connected.", queue.workers_connected())
        yield _labelled(
            "webhook_messages",
            "Messages to webhooks, by state.",
            "state",
            deliveries.count_by_state(),
        )
        yield _labelled("mails", "Mails, by state.", "state", notices.count_by_state())
        yield _labelled(
            "last_success_timestamp_seconds",
            "When the last completed sync of a clinic ended.",
            "organization_id",
            {clinic: moment.timestamp() for clinic, moment in state.last_success.items()},
        )
        yield _labelled(
            "last_success_duration_seconds",
            "How long the last completed sync of a clinic took.",
            "organization_id",
            state.last_seconds,
        )


@open_to_all.get("/metrics")
def metrics() -> Response:
    """The figures of this moment; without a METRICS_TOKEN there is no such page."""
    token = current_app.config["METRICS_TOKEN"]
    if token is None:
        raise NotFound()
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return Response(status=401, headers={"WWW-Authenticate": "Bearer"})
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_State())
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _gauge(name: str, help_text: str, value: float | None) -> Metric:
    """A figure that is left out while it is not known."""
    gauge = GaugeMetricFamily(f"patient_sync_{name}", help_text)
    if value is not None:
        gauge.add_metric([], value)
    return gauge


def _labelled(name: str, help_text: str, label: str, values: Mapping[Any, float]) -> Metric:
    """A figure of each clinic or state."""
    gauge = GaugeMetricFamily(f"patient_sync_{name}", help_text, labels=[label])
    for which, value in values.items():
        gauge.add_metric([str(which)], value)
    return gauge
