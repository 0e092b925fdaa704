"""The documents are true: what exists is written down, and what is written down exists."""

from __future__ import annotations

import re
from pathlib import Path

from flask import Flask

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def table(heading: str) -> str:
    """The rows of the first table below a heading of the README."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(line for line in section.splitlines() if line.startswith("|"))


def test_every_setting_is_in_the_readme() -> None:
    config = (ROOT / "config.py").read_text()
    read = set(re.findall(r'read\.\w+\(\s*"([A-Z_]+)"', config))
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", table("Settings")))
    assert read
    assert read - named == set()
    assert named - read == set()


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
    for name in ("requirements.in", "requirements-dev.in"):
        for line in (ROOT / name).read_text().splitlines():
            package = re.match(r"[A-Za-z0-9_-]+", line)
            if package and not line.startswith("-"):
                assert package.group().lower() in CONTRIBUTING.lower(), line


def test_every_picture_and_file_that_a_document_names_is_there() -> None:
    for document in (README, CONTRIBUTING):
        for target in re.findall(r"\]\(([^)#]+)\)", document):
            assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_version_stands_in_the_changelog() -> None:
    assert re.search(r"^## \d+\.\d+\.\d+", (ROOT / "CHANGELOG.md").read_text(), re.M)
