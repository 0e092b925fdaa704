"""Typed reading of settings, and of secrets in files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import unquote, urlsplit

from click import ClickException


class ConfigError(ClickException):
    """A setting is missing or makes no sense; the text says which one and what to do. It ends a
    command with that sentence."""

    exit_code = 2


class Reader:
    """Typed reading of environment variables; an empty one counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, pattern: str = "(?s).*", meaning: str = "text") -> str | None:
        value = self._environ.get(name, "").strip()
        if value and not re.fullmatch(pattern, value):
            raise ConfigError(f"{name} must be {meaning}, not {value!r}.")
        return value or None

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        return self.text(name, "|".join(allowed), " or ".join(allowed)) or default

    def number(self, name: str, default: int, *, highest: int, lowest: int = 1) -> int:
        value = self.text(name) or str(default)
        if not re.fullmatch("[0-9]{1,9}", value) or not lowest <= int(value) <= highest:
            raise ConfigError(f"{name} must be a number from {lowest} to {highest}, not {value!r}.")
        return int(value)

    def secret(self, name: str, pattern: str = "(?s).*", meaning: str = "text") -> str | None:
        """The variable itself, or the content of the file that NAME_FILE names. Never shown."""
        value, file = self.text(name), self.text(f"{name}_FILE")
        if file is not None:
            if value is not None:
                raise ConfigError(f"Set either {name} or {name}_FILE, not both.")
            value = _read(Path(file))
        if value is not None and not re.fullmatch(pattern, value):
            raise ConfigError(f"{name} must be {meaning}.")
        return value

    def secret_address(self, name: str, pattern: str, meaning: str) -> str | None:
        """A secret that whoever calls this address can take apart. Never shown."""
        value = self.secret(name, pattern, meaning)
        if value is not None and not _can_be_called(value):
            raise ConfigError(f"{name} must be {meaning}.")
        return value


def _can_be_called(address: str) -> bool:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:  # a bracket in a password, or a port that there cannot be
        return False
    host = (parts.hostname or "").removesuffix(".")
    named = all(0 < len(label) < 64 for label in host.split("."))
    secret = unquote(f"{parts.username}{parts.password}")
    # What their libraries send of it: smtplib ASCII, requests Latin-1.
    sent = secret.isascii() if parts.scheme.startswith("smtp") else max(secret) <= "\xff"
    return port != 0 and named and sent


def kept(path: Path, make: Callable[[], str]) -> str:
    """The secret in this file, made at the first call. Whoever comes second takes the first's."""
    if path.exists():
        return _read(path)
    try:
        # A link appears whole or not at all, and never replaces what another process has made.
        with NamedTemporaryFile("w", dir=path.parent, prefix=".") as new:  # mode 600
            new.write(make())
            new.flush()
            with suppress(FileExistsError):
                os.link(new.name, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be made ({error.strerror}).") from None
    return _read(path)


def _read(path: Path) -> str:
    try:
        content = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"The secret in {path} cannot be read.") from None
    if not content:
        raise ConfigError(f"{path} is empty; a secret belongs in there.")
    return content
