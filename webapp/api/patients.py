"""GET /cliniko/active-patients: the synced patients of a clinic, page by page."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import (
    STORABLE,
    STORABLE_SCHEMA,
    WHOLE_NUMBER,
    Answer,
    AskedMoment,
    Id,
    Moment,
    Offset,
    Pagination,
    Query,
    UpTo500,
    pagination,
)
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.cliniko.records import PatientState
from webapp.errors import ValidationError
from webapp.models import Organization, PatientSyncStatus
from webapp.services import looks, patients
from webapp.services.search import LONGEST as LONGEST_SEARCH


class AskedState(StrEnum):
    """The states of a patient, and all of them together."""

    ACTIVE = PatientState.ACTIVE
    ARCHIVED = PatientState.ARCHIVED
    MERGED = PatientState.MERGED
    DELETED = PatientState.DELETED
    ALL = "all"


class PatientQuery(Query):
    """Which patients are asked for, and which page of them."""

    limit: UpTo500 = 50
    offset: Offset = 0
    after_id: Annotated[
        int | None,
        Field(
            ge=0,
            le=10**15,
            description=(
                "Only those with a greater `id`, in the order of the ids, from 0 on: ask next with "
                "the last `id` of the page. Who leaves the list meanwhile moves nobody else. Not "
                "together with `offset`."
            ),
        ),
        WHOLE_NUMBER,
    ] = None
    search: Annotated[
        str,
        Field(
            max_length=LONGEST_SEARCH,
            json_schema_extra=STORABLE_SCHEMA,
            description=(
                "Words of a name or an e-mail address, in any order, without regard to case, "
                "accents or punctuation around them; four digits or more also match phone numbers, "
                "however written."
            ),
        ),
        STORABLE,
    ] = ""
    state: Annotated[AskedState, Field(description="As the patient stands in Cliniko.")] = (
        AskedState.ACTIVE
    )
    last_synced_after: Annotated[
        AskedMoment | None,
        Field(description="Only those confirmed in Cliniko later than this; UTC without a zone."),
    ] = None
    changed_after: Annotated[
        AskedMoment | None,
        Field(description="Only those whose stored content changed later than this."),
    ] = None

    @model_validator(mode="after")
    def _has_one_place(self) -> PatientQuery:
        if self.after_id is not None and "offset" in self.model_fields_set:
            raise ValidationError("offset cannot be sent with after_id.", parameter="offset")
        return self

    @property
    def criteria(self) -> patients.PatientFilter:
        return patients.PatientFilter(
            state=None if self.state is AskedState.ALL else PatientState(self.state),
            search=self.search,
            last_synced_after=self.last_synced_after,
            changed_after=self.changed_after,
        )


class Phone(Answer):
    """A number as it stands in Cliniko."""

    type: str
    number: str


class Patient(Answer):
    """A patient as stored."""

    id: Annotated[
        Id,
        Field(
            description="Ours. After a restore from a backup it may be another patient's: key a "
            "copy by the clinic and `cliniko_patient_id`."
        ),
    ]
    cliniko_patient_id: Annotated[str, Field(description="Cliniko's id, up to 19 digits.")]
    first_name: str
    last_name: str
    email: Annotated[str, Field(description="Empty if there is none.")]
    phone: Annotated[
        str, Field(description="The first mobile number, else the first that is no fax.")
    ]
    date_of_birth: date | None
    last_synced: Annotated[Moment, Field(description="When last confirmed in Cliniko.")]
    sync_status: Annotated[
        PatientSyncStatus,
        Field(description="`failed`: the newest version could not be stored; the older one stays."),
    ]
    preferred_first_name: str
    phones: list[Phone]
    state: PatientState
    last_changed: Annotated[Moment, Field(description="When the stored content last changed.")]
    archived_at: Moment | None
    merged_at: Moment | None
    merged_into: Annotated[
        str | None, Field(description="The Cliniko id of the patient this one became part of.")
    ]
    deleted_at: Moment | None


class PatientPage(Answer):
    """Some patients, by last name, first name and id, or with `after_id` by id alone: the order is
    stable."""

    patients: list[Patient]
    pagination: Pagination


EXAMPLE = Patient(
    id=789,
    cliniko_patient_id="12345",
    first_name="John",
    last_name="Doe",
    email="john@example.com",
    phone="+61 412 345 678",
    date_of_birth=date(1985, 3, 15),
    last_synced=datetime(2024, 1, 15, 10, 35, 20, tzinfo=UTC),
    sync_status=PatientSyncStatus.SUCCESS,
    preferred_first_name="Jack",
    phones=[Phone(type="Mobile", number="+61 412 345 678")],
    state=PatientState.ACTIVE,
    last_changed=datetime(2024, 1, 8, 2, 10, 4, tzinfo=UTC),
    archived_at=None,
    merged_at=None,
    merged_into=None,
    deleted_at=None,
)


@guarded.get("/cliniko/active-patients/<org_id>")
@Endpoint(
    summary="List the synced patients",
    description=(
        "Without `state`, those that are active in Cliniko. Pages by `offset` neither repeat nor "
        "drop a row while nothing changes; to copy all patients, ask with `state=all` and "
        "`after_id`, which drops nobody whatever changes."
    ),
    tag="Patients",
    action=Action.VIEW_PATIENTS,
    query=PatientQuery,
    example=PatientPage(patients=[EXAMPLE], pagination=pagination(648, 50, 0, 50)),
)
def active_patients(organization: Organization, query: PatientQuery) -> PatientPage:
    page = looks.at_list(
        organization,
        query.criteria,
        actor=current_actor(),
        limit=query.limit,
        offset=query.offset,
        after_id=query.after_id,
    )
    place = Pagination(
        total=page.total, limit=page.limit, offset=page.offset, has_next=page.has_next
    )
    found = [Patient.model_validate(row) for row in page.patients]
    return PatientPage(patients=found, pagination=place)
