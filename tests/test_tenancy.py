"""Who may come is said at the door; what belongs to a clinic is asked for by clinic."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Blueprint, Flask

from config import Settings
from webapp import create_app, pages
from webapp.api.blueprints import guarded

ROOT = Path(__file__).resolve().parent.parent / "webapp"

# By what rows of these tables are told apart by clinic.
OF_A_CLINIC = {
    "ForgottenPatient": "organization_id",
    "HeldRemoval": "organization_id",
    "Notice": "organization_id",
    "Patient": "organization_id",
    "PatientChange": "organization_id",
    "Schedule": "organization_id",
    "SyncFailure": "sync_log_id",
    "SyncLog": "organization_id",
    "WebhookDelivery": "endpoint_id",
    "WebhookEndpoint": "organization_id",
}
STATEMENTS = {"select", "update", "delete", "insert", "get", "get_one", "query", "select_from"}
# Functions that ask without naming the clinic, each looked at.
OTHERWISE = {
    # By what `scope` says of each question, or by ids that were found so.
    "services/patient_pages.py": {
        *(
            "_after",
            "_from_the_front",
            "_ids",
            "_in_this_order",
            "_page",
            "_page_beside_total",
            "_total",
        ),
    },
    # By ids of syncs that were found for the clinics of a page.
    "services/clinic_figures.py": {"_WHOLE"},
    # The clinic is added where it is used.
    "services/patient_export.py": {"_ROWS"},
    # By the person whose account it is.
    "services/account_notices.py": {"_was_told_enough"},
    # Whatever is due, of all clinics, for the process that sends.
    "services/notice_sending.py": {"_take", "send", "take_due"},
    "services/webhooks/sending.py": {"_take", "_write_down", "send", "take_turns"},
    # For the figures of all clinics together.
    "services/notices.py": {"count_by_state"},
    "services/webhooks/deliveries.py": {"count_by_state"},
    # Whatever has been gone for long enough, of all clinics.
    "services/old_syncs.py": {"delete_old"},
    # By the clinic itself, whose id is that of the row.
    "services/schedules.py": {"of", "plan_anew"},
    # Whatever was deleted for long enough, of all clinics, and then by the ids that were found.
    "services/retention.py": {"_purge_patients"},
    # By an id, and what was found is refused unless it is the clinic's.
    "services/webhooks/endpoints.py": {"get"},
    # By the ids of syncs or patients that the caller holds, or that a worker was sent.
    "sync/engine.py": {"_fail", "_prepare", "_tell_followers_again"},
    "sync/held.py": {"_decide"},
    "sync/lease.py": {"_waited", "claim", "expire", "write"},
    "sync/recorder.py": {"finish"},
    # A condition about the patient of a row; whoever uses it names the clinic of the rows.
    "sync/held_rows.py": {"_listed_again"},
    # For the figures of all clinics.
    "sync/figures.py": {"read"},
    # By `among`, which names the clinic.
    "sync/removals.py": {"_living"},
    "sync/rows.py": {"known_content", "known_rows", "mark_failed", "mark_seen"},
    # By the id of a sync that the caller holds already.
    "sync/history.py": {"_as_it_is"},
    # Syncs of all clinics, for workers: those whose worker fell silent, those that nobody took; and
    # by the ids that were found so.
    "sync/recovery.py": {"_stale", "_waiting_long", "hand_over", "settle"},
}
# Pages for whoever is signed in: about themselves, or lists that hold only what they may see.
FOR_EVERYBODY = {
    "account",
    "api_access",
    "begin_second_factor",
    "change_password",
    "clinics",
    "confirm",
    "confirm_password",
    "confirm_second_factor",
    "create_token",
    "end_session",
    "home",
    "new_recovery_codes",
    "remove_second_factor",
    "revoke_token",
    "second_factor",
    "second_factor_qr",
    "session",
    "sign_out_everywhere",
    "want_notices",
}
ASKS = {"organization_for", "person_for", "require", "require_everywhere"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if not name.startswith("models/"):
            yield name, ast.parse(path.read_text())


def units(module: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Functions, methods, and statements that are prepared once, by name."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((each.name, each) for each in node.body if hasattr(each, "name"))
        elif isinstance(node, ast.Assign):
            yield ast.unparse(node.targets[0]), node


def called(node: ast.Call) -> str:
    """The last word of what is called."""
    return ast.unparse(node.func).rpartition(".")[2]


def calls(node: ast.AST) -> set[str]:
    return {called(each) for each in ast.walk(node) if isinstance(each, ast.Call)}


def tables(node: ast.AST) -> set[str]:
    """The tables of clinics that a statement in here begins with."""
    return {
        name.id
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and called(call) in STATEMENTS
        for argument in call.args
        for name in ast.walk(argument)
        if isinstance(name, ast.Name) and name.id in OF_A_CLINIC
    }


def is_scoped(node: ast.AST, table: str) -> bool:
    """Whether a column of it is compared with the clinic, or with the sync of a clinic, or a row is
    written with it. A parameter of that name, or a join of two columns, is none."""
    owners = {OF_A_CLINIC[table], "organization_id", "sync_log_id"}
    known = OF_A_CLINIC.keys() | aliases(node)
    inserts = "insert" in calls(node)

    def is_owner(side: ast.AST) -> bool:
        return (
            isinstance(side, ast.Attribute)
            and side.attr in owners
            and isinstance(side.value, ast.Name)
            and side.value.id in known
        )

    def says(part: ast.AST) -> bool:
        if isinstance(part, ast.Compare):
            sides = [part.left, *part.comparators]
            return isinstance(part.ops[0], ast.Eq) and sum(map(is_owner, sides)) == 1
        if isinstance(part, ast.Call):
            function, named = part.func, called(part) in known | {"filter_by", "values"}
            if isinstance(function, ast.Attribute) and function.attr in ("in_", "between"):
                return is_owner(function.value)
            return named and any(keyword.arg in owners for keyword in part.keywords)
        return inserts and isinstance(part, ast.Dict) and any(map(is_named, part.keys))

    def is_named(key: ast.expr | None) -> bool:
        return isinstance(key, ast.Constant) and key.value in owners

    return any(says(part) for part in ast.walk(node))


def aliases(node: ast.AST) -> set[str]:
    """By which other names a table is asked in here."""
    return {
        ast.unparse(each.targets[0])
        for each in ast.walk(node)
        if isinstance(each, ast.Assign) and calls(each.value) == {"aliased"}
    }


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (True, "select(Patient).where(Patient.organization_id == organization_id)"),
        (True, "select(Patient).where(Patient.organization_id.in_(ids))"),
        (True, "select(HeldRemoval).where(HeldRemoval.sync_log_id == sync_log_id)"),
        (True, "session.execute(insert(Patient), [{'organization_id': organization_id}])"),
        (True, "select(Patient).filter_by(organization_id=organization_id)"),
        (False, "select(Patient).where(Patient.id == organization_id)"),
        (False, "select(Patient.organization_id)"),
        (False, "select(Patient).where(Patient.organization_id == SyncLog.organization_id)"),
        (False, "note({'organization_id': organization_id}, select(Patient))"),
        (False, "note(select(Patient), organization_id=organization_id)"),
    ],
)
def test_a_clinic_is_named_by_a_comparison_and_not_by_a_word(told: bool, text: str) -> None:
    function = ast.parse(f"def ask(organization_id, sync_log_id): return {text}")
    assert is_scoped(function, "Patient") is told


def test_every_statement_names_its_clinic_or_was_looked_at() -> None:
    found: dict[str, set[str]] = {}
    for path, module in modules():
        for name, node in units(module):
            if not all(is_scoped(node, table) for table in tables(node)):
                found.setdefault(path, set()).add(name)

    assert found == OTHERWISE


def test_tables_of_clinics_are_asked_by_their_owners_alone() -> None:
    askers = {
        path
        for path, module in modules()
        if any(tables(node) for _, node in units(module))
        and not path.startswith(("services/", "sync/"))
    }
    assert not askers


def test_statements_are_written_as_text_in_two_places() -> None:
    written = {
        path
        for path, module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("SELECT ", "INSERT ", "UPDATE ", "DELETE "))
    }
    assert written == {"sync/bulk.py", "sync/changes.py"}


def views() -> Iterator[tuple[ast.Module, ast.FunctionDef, str]]:
    """Every page behind the sign-in, with its address."""
    for path, module in modules():
        for node in module.body:
            if path.startswith("pages/") and isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    named = ast.unparse(decorator).startswith("signed_in.")
                    if named and isinstance(decorator, ast.Call):
                        yield module, node, ast.unparse(decorator.args[0])


def reached(module: ast.Module, function: ast.FunctionDef) -> set[str]:
    """What a view calls, by way of helpers of its module too."""
    helpers = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    names, ahead = set[str](), [function]
    while ahead:
        fresh = calls(ahead.pop()) - names
        names |= fresh
        ahead += [helpers[name] for name in fresh if name in helpers]
    return names


def test_every_page_of_a_clinic_is_led_to_by_the_one_loader() -> None:
    of_clinics = [each for each in views() if "<org_id>" in each[2]]
    assert len(of_clinics) > 10
    for module, function, address in of_clinics:
        assert "organization_for" in reached(module, function), address


def test_every_other_page_asks_for_a_right_or_is_for_everybody() -> None:
    others = [each for each in views() if "<org_id>" not in each[2]]
    asks_nobody = {
        function.name for module, function, _ in others if not ASKS & reached(module, function)
    }
    assert asks_nobody == FOR_EVERYBODY


def test_a_route_beside_every_door_stops_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_app(settings)

    for blueprint in (None, Blueprint("back", __name__)):
        with monkeypatch.context() as patched:
            patched.setattr(pages.templating, "init_app", adding_to(blueprint))
            with pytest.raises(LookupError, match="/back-door stands beside every door"):
                create_app(settings)


def adding_to(blueprint: Blueprint | None) -> object:
    """Something that adds a page to the application itself, or through a blueprint of its own."""

    def init_app(app: Flask) -> None:
        (blueprint or app).add_url_rule("/back-door", "door", lambda: "come in")
        if blueprint is not None:
            app.register_blueprint(blueprint)

    return init_app


def test_an_endpoint_that_promises_nothing_stops_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init_app(app: Flask) -> None:
        app.add_url_rule("/api/v1/back-door", f"{guarded.name}.door", lambda: "come in")

    monkeypatch.setattr(pages.templating, "init_app", init_app)
    with pytest.raises(LookupError, match="door promises nothing"):
        create_app(settings)
