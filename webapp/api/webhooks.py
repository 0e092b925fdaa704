"""/cliniko/webhooks: whom a clinic tells what happens."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from webapp import models
from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import Answer, Body, Id, Moment
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.auth.guards import id_of
from webapp.errors import ErrorCode
from webapp.models import SUBSCRIBABLE, Organization, PauseReason, WebhookEndpoint
from webapp.services.webhooks import endpoints
from webapp.services.webhooks.addresses import LONGEST

EVENTS = "`sync.completed`, `sync.failed`, `patients.changed`"

Address = Annotated[
    str,
    Field(
        max_length=LONGEST,
        description="Begins with `https://`, and can be reached from the Internet.",
        examples=["https://example.com/patients"],
    ),
]
Events = Annotated[
    list[str],
    Field(
        description=f"One or more of {EVENTS}.",
        examples=[["sync.completed", "sync.failed"]],
        # Told in the document, and refused with words of our own.
        json_schema_extra={"items": {"enum": [str(each) for each in SUBSCRIBABLE]}, "minItems": 1},
    ),
]


class State(StrEnum):
    """Whether messages are sent to a webhook."""

    ACTIVE = "active"
    PAUSED = "paused"


class NewWebhook(Body):
    """A webhook to be added."""

    address: Address
    events: Events


class WebhookChange(Body):
    """What is to be changed of a webhook; what is left out stays."""

    address: Annotated[
        Address | None,
        Field(description="Another address.", examples=["https://example.com/patients"]),
    ] = None
    events: Annotated[
        Events | None, Field(description=f"One or more of {EVENTS}.", examples=[["sync.failed"]])
    ] = None
    state: Annotated[
        Literal["active", "paused"] | None,
        Field(
            description="`active` sends what waits; `paused` lets messages wait.",
            examples=["paused"],
        ),
    ] = None


class Webhook(Answer):
    """A webhook of a clinic."""

    id: Id
    organization_id: Id
    address: str
    events: list[str]
    state: State
    paused_because: Annotated[
        PauseReason | None,
        Field(
            description="`person`: somebody paused it; `gone`: it answered 410; `exhausted`: a "
            "message failed for a day. Null while it is active."
        ),
    ]
    paused_at: Moment | None
    created_at: Moment


class Webhooks(Answer):
    """The webhooks of a clinic, in the order in which they were added."""

    webhooks: list[Webhook]


class WebhookWithSecret(Answer):
    """A webhook and the secret that its messages are signed with."""

    webhook: Webhook
    secret: Annotated[str, Field(description="Shown this once. Keep it like a password.")]
    old_secret_until: Annotated[
        Moment | None,
        Field(
            description="Until then messages are signed with the secret before this, too; with one "
            "that was promised earlier, until what was said then."
        ),
    ]


class Deleted(Answer):
    """A webhook that is no more."""

    success: Literal[True] = True
    message: str


EXAMPLE = Webhook(
    id=7,
    organization_id=123,
    address="https://example.com/patients",
    events=["sync.completed", "sync.failed"],
    state=State.ACTIVE,
    paused_because=None,
    paused_at=None,
    created_at=datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
)
PAUSED = EXAMPLE.model_copy(
    update={
        "events": ["sync.failed"],
        "state": State.PAUSED,
        "paused_because": PauseReason.PERSON,
        "paused_at": datetime(2024, 1, 15, 10, 31, tzinfo=UTC),
    }
)
WITH_SECRET = WebhookWithSecret(
    webhook=EXAMPLE, secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", old_secret_until=None
)
ROTATED = WITH_SECRET.model_copy(
    update={"old_secret_until": datetime(2024, 1, 16, 10, 30, tzinfo=UTC)}
)
described = partial(Endpoint, tag="Webhooks", action=Action.MANAGE_WEBHOOKS)


@guarded.get("/cliniko/webhooks/<org_id>")
@described(
    summary="List webhooks",
    description="Those of one clinic.",
    example=Webhooks(webhooks=[EXAMPLE]),
)
def webhooks(organization: Organization) -> Webhooks:
    return Webhooks(webhooks=[shaped(each) for each in endpoints.of(organization)])


@guarded.post("/cliniko/webhooks/<org_id>")
@described(
    summary="Add a webhook",
    description="Its address gets a signed POST for each of the events. The answer holds the "
    f"secret of the signatures, this once. A clinic has {endpoints.MOST} at most. Asked again "
    "within ten seconds for the same address and events, as after a lost answer, it is the same "
    "webhook, and the secret of the first answer is dropped. Later it would be a second webhook: "
    "list them, and delete the one whose secret you have not.",
    example=WITH_SECRET,
    body=NewWebhook,
    status=201,
)
def add_webhook(organization: Organization, body: NewWebhook) -> WebhookWithSecret:
    endpoint, secret = endpoints.add(organization, body.address, body.events, actor=current_actor())
    return _with_secret(endpoint, secret)


@guarded.get("/cliniko/webhooks/<org_id>/<webhook_id>")
@described(
    summary="Read a webhook",
    description="One of a clinic.",
    example=EXAMPLE,
    errors=(ErrorCode.NOT_FOUND,),
)
def webhook(organization: Organization, webhook_id: str) -> Webhook:
    return shaped(found(organization, webhook_id))


@guarded.patch("/cliniko/webhooks/<org_id>/<webhook_id>")
@described(
    summary="Change, pause or resume a webhook",
    description="While it is paused messages wait for 30 days. A new address, or a resumed one, "
    "gets them at once, with all their tries anew; so this is counted together with what is sent "
    "again.",
    example=PAUSED,
    errors=(ErrorCode.NOT_FOUND,),
    body=WebhookChange,
)
def change_webhook(organization: Organization, webhook_id: str, body: WebhookChange) -> Webhook:
    endpoint = found(organization, webhook_id)
    paused = None if body.state is None else body.state == "paused"
    endpoints.change(
        endpoint, address=body.address, events=body.events, paused=paused, actor=current_actor()
    )
    return shaped(endpoint)


@guarded.delete("/cliniko/webhooks/<org_id>/<webhook_id>")
@described(
    summary="Delete a webhook",
    description="With all of its messages, those that wait included.",
    example=Deleted(message="Webhook 7 was deleted"),
    errors=(ErrorCode.NOT_FOUND,),
)
def delete_webhook(organization: Organization, webhook_id: str) -> Deleted:
    endpoint = found(organization, webhook_id)
    deleted = Deleted(message=f"Webhook {endpoint.id} was deleted")
    endpoints.remove(endpoint, actor=current_actor())
    return deleted


@guarded.post("/cliniko/webhooks/<org_id>/<webhook_id>/rotate")
@described(
    summary="Make a new secret",
    description="The answer holds it, this once. For 24 hours messages are signed with the old "
    "secret, too. Asked again within ten seconds, as after a lost answer, the secret of the first "
    "answer is dropped; later it holds for its 24 hours, too. Two old ones hold at a time: a third "
    "new one is refused until the oldest has ended.",
    example=ROTATED,
    errors=(ErrorCode.NOT_FOUND,),
)
def rotate_webhook(organization: Organization, webhook_id: str) -> WebhookWithSecret:
    endpoint = found(organization, webhook_id)
    return _with_secret(endpoint, endpoints.rotate(endpoint, actor=current_actor()))


def found(organization: Organization, webhook_id: str) -> WebhookEndpoint:
    """The webhook of an address. Raises NotFound."""
    return endpoints.get(organization, id_of(webhook_id))


def shaped(endpoint: models.WebhookEndpoint) -> Webhook:
    """A webhook as the API shows it: never with a secret."""
    because = endpoint.paused_because
    return Webhook(
        id=endpoint.id,
        organization_id=endpoint.organization_id,
        address=endpoint.address,
        events=endpoint.events,
        state=State.ACTIVE if endpoint.paused_at is None else State.PAUSED,
        paused_because=PauseReason(because) if because else None,
        paused_at=endpoint.paused_at,
        created_at=endpoint.created_at,
    )


def _with_secret(endpoint: WebhookEndpoint, secret: str) -> WebhookWithSecret:
    return WebhookWithSecret(
        webhook=shaped(endpoint), secret=secret, old_secret_until=endpoint.old_secret_until
    )
