"""The layers of the house: imports run downwards only, and every job name resolves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEAVES = {"clock", "durations", "errors", "outbound", "cliniko"}
DATA = {"models", "extensions"}
SIMPLE = {"clock", "durations", "errors"}

# What a part of webapp may import from the rest of webapp; a part not named here is a mistake.
MAY_IMPORT: dict[str, set[str]] = {
    "clock": set(),
    "durations": set(),
    "errors": set(),
    "outbound": set(),
    "cliniko": {"outbound"},
    "htmx": set(),
    "logging_setup": set(),
    "postgresql": set(),
    "extensions": {"postgresql"},
    "models": {"clock", "cliniko", "extensions"},
    "queue": {"clock", "errors"},
    "services": DATA | LEAVES | {"queue"},
    "sync": DATA | SIMPLE | {"cliniko", "queue", "services"},
    "auth": DATA | {"clock", "errors", "services"},
    "jobs": {"sync"},
    "work_horse": {"services"},
    "worker": {"errors", "extensions", "jobs", "queue", "services", "sync", "work_horse"},
    "deliverer": {"services"},
    "terminal": DATA | {"cliniko", "errors", "services"},
    "people_commands": {"models", "services", "terminal"},
    "cli": DATA | {"errors", "people_commands", "services", "sync", "terminal"},
    "request_ids": {"services"},
    "front": set(),
    "limits": SIMPLE | {"auth", "models", "queue", "services"},
    "security": {"errors", "front", "htmx", "request_ids", "services"},
    "api": SIMPLE | {"auth", "cliniko", "limits", "models", "security", "services", "sync"},
    "error_handlers": {"api", "errors", "limits", "pages", "services"},
    "pages": SIMPLE
    | {"auth", "cliniko", "htmx", "limits", "models", "queue", "request_ids", "security"}
    | {"services", "sync"},
}

# Below the edge nobody knows of requests; `current_app` is for what is built from configuration.
REQUEST_WORDS = {"request", "session", "g", "url_for", "render_template", "abort", "redirect"}
OF_REQUESTS = {"flask_limiter", "flask_login", "flask_wtf", "werkzeug"}
PROCESSES = {"jobs", "work_horse", "worker", "deliverer"}
BELOW_THE_EDGE = LEAVES | DATA | PROCESSES | {"postgresql", "queue", "services", "sync"}


def modules(*places: str) -> Iterator[Path]:
    """The files of each folder, and each file that is named."""
    for place in places:
        path = ROOT / place
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        assert any(file.is_file() for file in files), f"{place} holds no module"
        yield from files


def imported(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Every module that a file imports, with the names taken from it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or "", [alias.name for alias in node.names]


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "webapp").parts[0].removesuffix(".py")


def parts_imported(path: Path) -> Iterator[str]:
    """The parts of webapp that a file imports."""
    for module, names in imported(path):
        if module == "webapp":
            yield from names
        elif module.startswith("webapp."):
            yield module.split(".")[1]


@pytest.mark.parametrize("path", list(modules("webapp")), ids=lambda path: path.stem)
def test_imports_run_downwards_only(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":  # create_app puts the parts together
        return
    allowed = MAY_IMPORT[part] | {part}
    assert set(parts_imported(path)) <= allowed


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_what_a_part_may_import_it_does_import(part: str) -> None:
    theirs = [path for path in modules("webapp") if part_of(path) == part]
    assert theirs
    assert MAY_IMPORT[part] <= {name for path in theirs for name in parts_imported(path)}


def test_the_cliniko_client_knows_of_nothing_of_ours() -> None:
    outside = {"msgspec", "requests", "urllib3", "webapp"}
    for path in modules("webapp/cliniko", "webapp/outbound"):
        tops = {module.split(".")[0] for module, _ in imported(path)}
        assert tops - set(sys.stdlib_module_names) <= outside, path


def test_nothing_below_the_edge_knows_of_requests() -> None:
    for path in modules("webapp"):
        if part_of(path) in BELOW_THE_EDGE:
            for module, names in imported(path):
                top = module.split(".")[0]
                assert top not in OF_REQUESTS, path
                if top == "flask":
                    assert names, f"{path}: name what is taken from flask"
                    assert not REQUEST_WORDS & {*names}, path


def test_views_and_jobs_never_ask_the_database() -> None:
    for path in modules("webapp/api", "webapp/pages", "webapp/jobs.py"):
        assert "extensions" not in parts_imported(path), path
        known = {module for module, _ in imported(path) if module.startswith("sqlalchemy")}
        assert known <= {"sqlalchemy.exc"}, f"{path}: errors have their answer here, no statements"


def test_the_simulator_and_the_application_do_not_know_each_other() -> None:
    for path in modules("simulator"):
        assert not any(module.startswith("webapp") for module, _ in imported(path)), path
    for path in modules("webapp"):
        assert not any(module.startswith("simulator") for module, _ in imported(path)), path


def test_the_web_process_does_not_load_the_engine(tmp_path: Path) -> None:
    """By whichever way: what is loaded is asked of a process that has made the application."""
    asked = "import sys; from webapp import create_app; create_app(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=ROOT,
        env={"ENV": "development", "INSTANCE_DIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert "webapp.pages.syncs" in loaded
    assert not {f"webapp.{name}" for name in ("jobs", "sync.engine", "sync.passes")} & {*loaded}


def test_the_packages_below_the_edge_import_nothing_by_themselves() -> None:
    for package in ("sync", "services", "cliniko", "outbound", "auth"):
        assert not list(imported(ROOT / "webapp" / package / "__init__.py"))


def test_every_job_name_resolves() -> None:
    from webapp.worker import ALLOWED_JOBS

    for name in ALLOWED_JOBS:
        module, _, function = name.rpartition(".")
        assert callable(getattr(import_module(module), function))


def test_no_module_grows_beyond_a_screenful_of_screens() -> None:
    for path in modules("config", "webapp", "simulator", "script"):
        lines = len(path.read_text().splitlines())
        assert lines <= 260, f"{path.relative_to(ROOT)} has {lines} lines: take it apart"
