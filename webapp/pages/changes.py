"""What one sync has changed: about whom, and which fields."""

from __future__ import annotations

from flask import request

from webapp.auth.access import Action
from webapp.auth.guards import id_of, organization_for
from webapp.auth.sessions import current_actor
from webapp.models import ChangeKind, SyncLog
from webapp.pages import parameters
from webapp.pages.blueprints import signed_in
from webapp.pages.filters import change_count
from webapp.pages.templating import render_clinic
from webapp.services import looks
from webapp.sync import history

PER_PAGE = 50


@signed_in.get("/clinics/<org_id>/syncs/<sync_id>/changes")
def changes(org_id: str, sync_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.VIEW_PATIENTS)
    log = history.get(organization, id_of(sync_id))
    page = parameters.page_number(request.args)
    kind = parameters.choice(request.args, "kind", ChangeKind)
    found = looks.at_changes(
        log,
        actor=current_actor(),
        kind=kind,
        limit=PER_PAGE,
        offset=(page - 1) * PER_PAGE,
    )
    return render_clinic(
        "changes/index.html",
        organization,
        log=log,
        kind=kind,
        kinds=[*ChangeKind],
        counted=_counted(log, kind),
        found=found,
        page=page,
        per_page=PER_PAGE,
    )


def _counted(log: SyncLog, kind: ChangeKind | None) -> int:
    """How many changes the sync has counted, whether or not it is still known who they were."""
    changes = log.progress.get("changes")
    if not changes:
        return 0
    return int(changes[kind]) if kind else change_count(changes)
