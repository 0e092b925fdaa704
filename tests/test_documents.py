"""The documents are true: what exists is written down, and what is written down exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from flask import Flask

from config import load

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
COPIED = ("patient-sync.service", "patient-sync")  # of docs/production


def table(heading: str) -> str:
    """The rows of the first table below a heading of the README."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(line for line in section.splitlines() if line.startswith("|"))


def headings(document: Path) -> set[str]:
    """What a link to a place in a document may name."""
    lines = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_setting_is_in_the_readme() -> None:
    config = "".join(path.read_text() for path in (ROOT / "config").glob("*.py"))
    read = set(re.findall(r'read\.\w+\(\s*"([A-Z_]+)"', config))
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", table("Settings")))
    assert read
    assert read - named == set()
    assert named - read == set()


def test_the_settings_of_the_readme_are_enough_for_production(tmp_path: Path) -> None:
    section = README.split("\n## Run it for real\n")[1].split("\n## ")[0]
    lines = re.findall(r"^[A-Z_]+=.*$", section, re.MULTILINE)
    made = subprocess.run(  # with keys of its own and, in quotes, the servers of one's own
        ["sh"],
        input="\n".join(["set -a", *lines, "env"]),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {line.partition("=")[0] for line in lines}
    environ = dict(line.split("=", 1) for line in made.splitlines() if "=" in line)
    settings = load({name: environ[name] for name in names}, instance=tmp_path)

    assert (settings.environment, settings.trusted_proxies) == ("production", 1)
    assert settings.database_url.startswith("postgresql+psycopg://patient_sync:password@")
    assert settings.redis_url.startswith("rediss://")


def test_what_production_copies_fits_what_is_here() -> None:
    unit, command = ((ROOT / "docs" / "production" / name).read_text() for name in COPIED)

    assert (ROOT / unit.split("ExecStart=/opt/patient-sync/app/")[1].split("\n")[0]).exists()
    assert all("/etc/patient-sync/env" in each for each in (unit, command, README))


def test_the_service_starts_after_a_clock_that_is_waited_for() -> None:
    """Schedules go by it."""
    unit = (ROOT / "docs" / "production" / "patient-sync.service").read_text()
    (after,) = re.findall(r"^After=(.*)$", unit, re.MULTILINE)
    assert "time-sync.target" in after.split()


def test_the_server_in_front_writes_neither_answers_nor_bodies_to_a_file(app: Flask) -> None:
    """Tried with nginx 1.22: with the defaults in their place it makes files of both."""
    lines = (ROOT / "docs" / "production" / "nginx.conf").read_text().splitlines()
    said = {line.strip() for line in lines}

    assert app.config["MAX_CONTENT_LENGTH"] == 1024 * 1024
    assert {"client_max_body_size 1m;", "client_body_buffer_size 1m;"} <= said
    assert {"proxy_max_temp_file_size 0;", "proxy_buffers 4096 16k;"} <= said


def test_every_endpoint_is_in_the_readme(app: Flask) -> None:
    known = {
        re.sub(r"<(?:\w+:)?(\w+)>", "{}", rule.rule.removeprefix("/api/v1"))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/")
    }
    named = {
        re.sub(r"\{\w+\}", "{}", path)
        for path in re.findall(r"`(?:GET|POST|PATCH|DELETE) (/[^`]*)`", table("The API"))
    }
    assert named == known


def test_every_command_is_in_the_readme(app: Flask) -> None:
    ours = set(app.cli.commands) - {"db", "run", "shell", "routes"}
    named = {name.split()[0] for name in re.findall(r"^\| `([^`]+)`", table("Operations"), re.M)}
    assert named == ours | {"db"}


def test_every_package_has_its_reason() -> None:
    """And no other: a package that was given up takes its reason with it."""
    listed = {
        package.lower()
        for name in ("requirements.in", "requirements-dev.in")
        for package in re.findall(r"^[A-Za-z0-9_-]+", (ROOT / name).read_text(), re.M)
        if not package.startswith("-")
    }
    section = CONTRIBUTING.split("## Why each package")[1].split("## ")[0]
    rows = re.findall(r"^\| (?:\*for tests\* )?(.+?) \|", section, re.M)
    assert {package for row in rows for package in row.split(", ")} - {"package"} == listed


def test_every_picture_and_file_that_a_document_names_is_there() -> None:
    for document in DOCUMENTS:
        for target, heading in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", document.read_text()):
            if target.startswith("https://"):
                continue
            named = document.parent / target if target else document
            assert named.exists(), (document, target)
            if heading:
                assert heading in headings(named), (document, target, heading)


def test_the_version_stands_in_the_changelog() -> None:
    assert re.search(r"^## \d+\.\d+\.\d+", (ROOT / "CHANGELOG.md").read_text(), re.M)
