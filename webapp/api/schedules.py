"""GET /cliniko/schedule: when a clinic is synced by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import Answer, Id, Moment
from webapp.auth.access import Action
from webapp.clock import now
from webapp.models import Organization
from webapp.services import schedules

SHOWN_RUNS = 3


class Run(Answer):
    """A sync that is to come."""

    at: Moment
    full: Annotated[bool, Field(description="A sync of all patients, not only of what changed.")]


class Schedule(Answer):
    """When a clinic is synced by itself."""

    time_zone: Annotated[
        str | None,
        Field(description="By its name in the tz database; null until Cliniko has told it."),
    ]
    changes_every_minutes: Annotated[int | None, Field(description="null: never.")]
    full_at: Annotated[
        str | None,
        Field(
            pattern="^[0-2][0-9]:[0-5][0-9]$",
            description="By the clinic's own clock; it starts within ten minutes. null: never.",
        ),
    ]
    next_runs: Annotated[
        list[Run],
        Field(
            description=f"The next {SHOWN_RUNS}; none while the clinic is disabled or has no "
            "Cliniko API key."
        ),
    ]
    last_sync_log_id: Annotated[
        Id | None, Field(description="The newest sync that the schedule has started.")
    ]
    overdue: Annotated[bool, Field(description="Not in step for longer than the schedule allows.")]


@guarded.get("/cliniko/schedule/<org_id>")
@Endpoint(
    summary="Read the schedule of a clinic",
    description="When it is synced by itself. It is changed in the dashboard.",
    tag="Syncs",
    action=Action.MANAGE_ORGANIZATION,
    example=Schedule(
        time_zone="Australia/Sydney",
        changes_every_minutes=60,
        full_at="02:00",
        next_runs=[Run(at=datetime(2024, 1, 15, 15, 4, 22, tzinfo=UTC), full=True)],
        last_sync_log_id=456,
        overdue=False,
    ),
)
def schedule(organization: Organization) -> Schedule:
    moment, chosen = now(), schedules.of(organization)
    runs = []
    if organization.can_be_synced:
        runs = schedules.next_runs(organization, moment, SHOWN_RUNS)
    last, full_at = schedules.last_run(organization), chosen and chosen.full_at
    return Schedule(
        time_zone=organization.time_zone,
        changes_every_minutes=chosen.changes_every if chosen else None,
        full_at=f"{full_at:%H:%M}" if full_at else None,
        next_runs=[Run(at=run.at, full=run.full) for run in runs],
        last_sync_log_id=last.id if last else None,
        overdue=schedules.overdue(organization, moment),
    )
