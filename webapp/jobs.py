"""What workers run. Each job takes ids, and calls one verb."""

from __future__ import annotations

from rq import get_current_job

from webapp.sync import engine


def run_sync(sync_log_id: int, attempt: int) -> None:
    """Work on a sync until it ends, or until another worker has it."""
    job = get_current_job()
    engine.run(sync_log_id, attempt, worker=(job and job.worker_name) or "unknown")
