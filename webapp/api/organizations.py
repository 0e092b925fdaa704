"""GET /organizations: the clinics that the caller may see."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import Answer, Id
from webapp.auth.bearer import current_actor
from webapp.services.organizations import visible_to


class Organization(Answer):
    """A clinic."""

    id: Annotated[Id, Field(description="The `orgId` of every other address.")]
    name: str
    cliniko_id: Annotated[
        str | None, Field(description="The Cliniko account; null until first connected.")
    ]
    configured: Annotated[bool, Field(description="Whether a Cliniko API key is stored.")]
    disabled: Annotated[
        bool, Field(description="Whether nothing of it is synced and only admins may ask about it.")
    ]


class Organizations(Answer):
    """All clinics that the caller may see, by name."""

    organizations: list[Organization]


@guarded.get("/organizations")
@Endpoint(
    summary="List your clinics",
    description="Admins see all clinics, everybody else their own.",
    tag="Access",
    example=Organizations(
        organizations=[
            Organization(
                id=1, name="Surf Rehab", cliniko_id="12345", configured=True, disabled=False
            )
        ]
    ),
)
def organizations() -> Organizations:
    return Organizations(
        organizations=[
            Organization(
                id=each.id,
                name=each.name,
                cliniko_id=each.cliniko_id,
                configured=each.is_configured,
                disabled=each.disabled_at is not None,
            )
            for each in visible_to(current_actor())
        ]
    )
