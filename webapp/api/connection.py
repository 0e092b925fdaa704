"""GET /cliniko/test-connection: does the stored key open the clinic's Cliniko account."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import Answer, Count
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.errors import ErrorCode
from webapp.models import Organization
from webapp.services import connection


class ClinikoAccount(Answer):
    """What the key opens."""

    name: str
    cliniko_id: str


class Connection(Answer):
    """A test that passed."""

    status: Literal["connected"] = "connected"
    total_patients: Annotated[Count, Field(description="Active patients in Cliniko.")]
    api_version: Annotated[Literal["v1"], Field(description="Of Cliniko's API.")] = "v1"
    connection_test: Literal["passed"] = "passed"
    organization: ClinikoAccount


@guarded.get("/cliniko/test-connection/<org_id>")
@Endpoint(
    summary="Test the connection to Cliniko",
    description=(
        "Asks Cliniko whose the stored key is, and how many active patients there are: two "
        "requests. A key of another Cliniko account than the clinic's is refused."
    ),
    tag="Syncs",
    action=Action.TEST_CONNECTION,
    example=Connection(
        total_patients=648, organization=ClinikoAccount(name="Surf Rehab", cliniko_id="12345")
    ),
    errors=(
        ErrorCode.CLINIKO_AUTH_FAILED,
        ErrorCode.CLINIKO_NOT_CONFIGURED,
        ErrorCode.CLINIKO_FORBIDDEN,
        ErrorCode.CLINIKO_ACCOUNT_MISMATCH,
        ErrorCode.CLINIKO_RATE_LIMITED,
        ErrorCode.CLINIKO_UNAVAILABLE,
        ErrorCode.CLINIKO_BAD_RESPONSE,
        ErrorCode.CREDENTIALS_UNREADABLE,
    ),
)
def test_connection(organization: Organization) -> Connection:
    report = connection.test_connection(organization, actor=current_actor())
    account = ClinikoAccount(name=report.account.name, cliniko_id=report.account.id)
    return Connection(total_patients=report.total_patients, organization=account)
