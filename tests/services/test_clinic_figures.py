"""The figures of each clinic that the clinics page shows."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, inspect

from tests.api.rows import make_log
from tests.cast import Cast
from tests.support.databases import on_both
from tests.support.statements import asked_meanwhile
from webapp.extensions import db, transaction
from webapp.models import SyncLog
from webapp.services import clinic_figures, organizations


def test_figures_count_for_each_clinic(cast: Cast) -> None:
    rows = clinic_figures.figures(organizations.visible_to(cast.alice))

    assert [row.organization.name for row in rows] == ["Northside Physio", "Surf Rehab"]
    assert [(row.patients, row.latest, row.last_synced) for row in rows] == [(0, None, None)] * 2


@on_both
def test_the_last_syncs_of_each_clinic_are_its_own_and_the_newest_is_whole(cast: Cast) -> None:
    surf, northside = (
        [make_log(clinic, progress={"nth": nth}).id for nth in range(count)]
        for clinic, count in ((cast.surf, 20), (cast.northside, 3))
    )
    db.session.expire_all()

    rows = {
        row.organization.name: row for row in clinic_figures.figures([cast.surf, cast.northside])
    }

    assert [log.id for log in rows[cast.surf.name].recent] == surf[:-15:-1]
    assert [log.id for log in rows[cast.northside.name].recent] == northside[::-1]
    latest = rows[cast.surf.name].latest
    assert latest is not None
    assert not {"progress", "operation_type"} & inspect(latest).unloaded
    assert (latest.id, latest.progress) == (surf[-1], {"nth": 19})


@pytest.mark.parametrize("database", ["postgresql"])
def test_no_figure_of_the_clinics_page_reads_all_syncs(cast: Cast) -> None:
    """The page asks every five seconds; with a schedule a clinic has thousands, most completed."""
    log = make_log(cast.surf)
    keys = [each.key for each in inspect(SyncLog).column_attrs if each.key != "id"]
    values = {key: getattr(log, key) for key in keys}
    clinics = [cast.surf, cast.northside]
    with transaction() as session:
        for clinic in clinics:
            session.execute(insert(SyncLog), [values | {"organization_id": clinic.id}] * 5000)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE sync_logs")

    with asked_meanwhile() as asked:
        clinic_figures.figures(clinics)

    of_syncs = [each for each in asked if "FROM sync_logs" in each[0]]
    assert of_syncs
    with db.engine.connect() as connection:
        for statement, given in of_syncs:
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
            plan = connection.exec_driver_sql(explain, given).scalar_one()
            assert _rows_read(plan[0]["Plan"]) <= 2 * 2 * clinic_figures.SHOWN_SYNCS, str(plan)


def _rows_read(step: dict[str, Any]) -> float:
    below: float = sum(map(_rows_read, step.get("Plans", ())))
    if step.get("Relation Name") != "sync_logs":
        return below
    each = step["Actual Rows"] + step.get("Rows Removed by Filter", 0)
    return below + float(each * step["Actual Loops"])
