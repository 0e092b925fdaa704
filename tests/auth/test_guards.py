"""From an id in an address to a clinic."""

from __future__ import annotations

import pytest

from tests.cast import Cast
from webapp.auth.access import Action
from webapp.auth.guards import organization_for, organization_id_of, require
from webapp.errors import InsufficientPermissions, InvalidOrganizationId, OrganizationNotFound


def test_a_manager_gets_their_own_clinic(cast: Cast) -> None:
    found = organization_for(cast.bob, str(cast.surf.id), Action.START_SYNC)

    assert found is cast.surf


def test_an_admin_gets_every_clinic(cast: Cast) -> None:
    for organization in (cast.surf, cast.northside):
        assert organization_for(cast.alice, str(organization.id), Action.START_SYNC) is organization


def test_a_viewer_may_look_but_not_start(cast: Cast) -> None:
    org_id = str(cast.surf.id)

    assert organization_for(cast.vera, org_id, Action.VIEW_SYNCS) is cast.surf
    with pytest.raises(InsufficientPermissions):
        organization_for(cast.vera, org_id, Action.START_SYNC)


def test_strangers_cannot_tell_a_clinic_from_none(cast: Cast) -> None:
    told = []
    for org_id in (str(cast.surf.id), "999"):
        with pytest.raises(InsufficientPermissions) as caught:
            organization_for(cast.charlie, org_id, Action.VIEW_SYNCS)
        told.append((caught.value.message, list(caught.value.details)))

    assert told[0] == told[1]


def test_only_an_admin_is_told_that_there_is_none(cast: Cast) -> None:
    with pytest.raises(OrganizationNotFound):
        organization_for(cast.alice, "999", Action.VIEW_SYNCS)


@pytest.mark.parametrize("org_id", ["1", "42", "9" * 16])
def test_an_id_is_a_whole_number(org_id: str) -> None:
    assert organization_id_of(org_id) == int(org_id)


@pytest.mark.parametrize(
    "org_id",
    [
        "",
        "0",
        "01",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1.0",
        "1_0",
        "0x1",
        "abc",
        "\uff11\uff12",
        "\u0663",
        "9" * 17,
    ],
)
def test_nothing_else_is_an_id(org_id: str) -> None:
    with pytest.raises(InvalidOrganizationId):
        organization_id_of(org_id)


def test_the_form_of_an_id_is_looked_at_before_permissions(cast: Cast) -> None:
    with pytest.raises(InvalidOrganizationId):
        organization_for(cast.vera, "abc", Action.START_SYNC)


def test_what_concerns_no_clinic_in_particular(cast: Cast) -> None:
    require(cast.alice, Action.ADD_ORGANIZATION)
    require(cast.vera, Action.VIEW_SYNCS)
    for person in (cast.bob, cast.vera):
        with pytest.raises(InsufficientPermissions):
            require(person, Action.ADD_ORGANIZATION)
