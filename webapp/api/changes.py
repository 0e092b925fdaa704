"""GET /cliniko/changes: every change of a clinic's patients, in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from webapp import models
from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import WHOLE_NUMBER, Answer, Id, Moment, Query, UpTo500
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.errors import ErrorCode
from webapp.models import ChangeKind, Organization
from webapp.services import looks

Cursor = Annotated[int, Field(ge=0)]


class ChangeQuery(Query):
    """From where on changes are asked for, and how many."""

    cursor: Annotated[
        int | None,
        Field(
            ge=0,
            le=10**15,
            description="The last `next_cursor`; without it, from the oldest change that is kept. "
            "With `0` from the first one, or 410 where that is gone.",
        ),
        WHOLE_NUMBER,
    ] = None
    limit: UpTo500 = 100


class Change(Answer):
    """One change of one patient: what has happened and to which fields, never their content."""

    id: Annotated[Id, Field(description="Its place among the clinic's changes; a cursor, too.")]
    cliniko_patient_id: str
    patient_id: Annotated[
        Id | None,
        Field(
            description="The `id` among the synced patients; null if not held here. After a "
            "restore from a backup it may be another patient's: see `cliniko_patient_id`."
        ),
    ]
    kind: ChangeKind
    fields: Annotated[
        list[str], Field(description="Which fields differ, by their names in `active-patients`.")
    ]
    at: Annotated[Moment, Field(description="When it was stored.")]
    sync_log_id: Annotated[
        Id, Field(description="The sync that found it, or whose held removals were confirmed.")
    ]


class ChangeFeed(Answer):
    """Some changes, the oldest first."""

    changes: list[Change]
    next_cursor: Annotated[
        Cursor, Field(description="Ask with it next time; keep it once these changes are done.")
    ]
    has_more: Annotated[bool, Field(description="Whether more are there already.")]


EXAMPLE = Change(
    id=649,
    cliniko_patient_id="12345",
    patient_id=789,
    kind=ChangeKind.UPDATED,
    fields=["email", "phones"],
    at=datetime(2024, 1, 15, 10, 35, 20, tzinfo=UTC),
    sync_log_id=456,
)


@guarded.get("/cliniko/changes/<org_id>")
@Endpoint(
    summary="Follow what changes",
    description=(
        "Every change in the order in which it was stored, at least once, and none is left out, "
        "while syncs run too: go on with `next_cursor`. The first sync of a clinic adds everybody, "
        "but changes are kept for 400 days only: whoever begins reads all patients first "
        "(`active-patients` with `state=all` and `after_id=0`), and then follows without a cursor, "
        "or patients who have not changed for so long are missing. The changes of a patient who is "
        "forgotten are deleted, and of one who was deleted in Cliniko only the deletion stays when "
        "their data go, of which no change tells: a copy lets go of their data itself, and reads "
        "all patients again when `forgotten` of the `status` has grown (rule 27)."
    ),
    tag="Patients",
    action=Action.VIEW_PATIENTS,
    query=ChangeQuery,
    example=ChangeFeed(changes=[EXAMPLE], next_cursor=649, has_more=False),
    errors=(ErrorCode.CURSOR_EXPIRED,),
)
def changes(organization: Organization, query: ChangeQuery) -> ChangeFeed:
    feed = looks.at_feed(
        organization, actor=current_actor(), cursor=query.cursor, limit=query.limit
    )
    return ChangeFeed(
        changes=[_shaped(change, patient_id) for change, patient_id in feed.rows],
        next_cursor=feed.next_cursor,
        has_more=feed.has_more,
    )


def _shaped(change: models.PatientChange, patient_id: int | None) -> Change:
    return Change(
        id=change.position,
        cliniko_patient_id=change.cliniko_patient_id,
        patient_id=patient_id,
        kind=ChangeKind(change.kind),
        fields=change.fields,
        at=change.at,
        sync_log_id=change.sync_log_id,
    )
