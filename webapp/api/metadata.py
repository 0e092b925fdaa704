"""The `metadata` of a sync: how far it is, what it has changed, and what it proves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from webapp.api.shapes import Answer, Count, Moment
from webapp.cliniko.throttle import WaitReason
from webapp.models import OperationType, RemovalsDecision, SyncPhase


class CertifiedSide(Answer):
    """The patients of one side."""

    active: Count
    archived: Count
    merged: Count
    deleted: Annotated[
        Count, Field(description="Cliniko forgets deleted patients in time; the copy does not.")
    ]
    digest: Annotated[
        str,
        Field(
            description="Of the ids, states and contents of all who are not deleted, made with a "
            "secret that only this sync had: it can be compared with that of the other side alone."
        ),
    ]


class Certificate(Answer):
    """What Cliniko has told in this sync, beside what is stored."""

    in_step: Annotated[
        bool,
        Field(
            description="Whether the digests are equal, no record failed, and Cliniko counts no "
            "more patients than it has shown."
        ),
    ]
    cliniko: CertifiedSide
    stored: CertifiedSide


class Changes(Answer):
    """What a sync has changed, in patients."""

    added: Count
    updated: Count
    archived: Count
    merged: Count
    deleted: Annotated[
        Count, Field(description="Those included whose held removal was confirmed later.")
    ]
    restored: Annotated[Count, Field(description="Active again, or not deleted after all.")]
    fields: Annotated[
        dict[str, int], Field(description="How many times each field differed, by its name.")
    ]


class Metadata(Answer):
    """How far a sync is."""

    patients_found: Annotated[Count, Field(description="Records in all lists that are read.")]
    patients_stored: Annotated[Count, Field(description="Equal to `records_success`.")]
    sync_type: Annotated[OperationType, Field(description="Equal to `operation_type`.")]
    current_page: Count
    total_pages: Annotated[Count, Field(description="Pages really asked for, 100 patients each.")]
    progress_percent: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description=(
                "Processed of found, one decimal. Never falls; 0.1 or more once a record was "
                "processed, 99.9 at most until the sync has completed, then 100.0."
            ),
        ),
    ]
    estimated_remaining: Annotated[
        str | None,
        Field(description="As `45 seconds`, waiting included; null until known and at the end."),
    ]
    estimated_remaining_seconds: Count | None = None
    phase: SyncPhase = SyncPhase.QUEUED
    waiting_until: Annotated[
        Moment | None,
        Field(description="In the phase `waiting`: until when nothing is asked of Cliniko."),
    ] = None
    waiting_for: Annotated[
        WaitReason | None,
        Field(
            description="In the phase `waiting`: `budget`, the requests that Cliniko allows in a "
            "minute are used up; `rate_limited`, Cliniko has refused one with a 429; `retry`, it "
            "did not answer, or not so that it could be read. Null for syncs from before this was "
            "kept."
        ),
    ] = None
    active_found: Annotated[Count | None, Field(description="Active patients in Cliniko.")] = None
    requests_made: Annotated[Count, Field(description="Requests to Cliniko so far.")] = 0
    requests_left: Annotated[
        Count | None,
        Field(description="How many more may go this minute; null when nothing is asked."),
    ] = None
    phases_entered_after: Annotated[
        dict[SyncPhase, float],
        Field(
            default_factory=dict,
            description="Seconds from the start of the sync to each phase that it has entered: "
            "`connecting`, `fetching` and `reconciling`. Waits are not among them; the end is "
            "`completed_at`.",
        ),
    ]
    removals_held: Annotated[
        Count,
        Field(
            description="Patients that Cliniko no longer lists but that were not marked deleted, "
            "because they are too many to be believed. An admin decides in the dashboard."
        ),
    ] = 0
    removals_unasked: Annotated[
        Count,
        Field(
            description="Further patients that no list has shown, and about whom it could not ask, "
            "for it asks about a hundred, or got no answer."
        ),
    ] = 0
    removals_decision: Annotated[
        RemovalsDecision | None,
        Field(
            description="What was decided about them: `confirmed`, those that were still held were "
            "marked deleted; `dismissed`, they are kept. Null until then."
        ),
    ] = None
    removals_decided_at: Annotated[Moment | None, Field(description="When it was decided.")] = None
    removals_kept: Annotated[
        Count,
        Field(
            description="Patients that Cliniko no longer listed when this sync completed, kept by "
            "an earlier decision; they are not in `removals_held`."
        ),
    ] = 0
    not_shown: Annotated[
        Count | None,
        Field(
            description="How many more active and archived patients Cliniko counted at the end "
            "than it has shown; null where they were not counted."
        ),
    ] = None
    changed_since: Annotated[
        Moment | None,
        Field(description="Of a sync of what changed: from when on, by Cliniko's clock."),
    ] = None
    changes: Annotated[
        Changes | None,
        Field(description="What it has changed so far; null for syncs from before this was kept."),
    ] = None
    certificate: Annotated[
        Certificate | None,
        Field(description="Of a completed sync of all patients; null before and for others."),
    ] = None
