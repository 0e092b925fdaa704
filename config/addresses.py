"""Addresses, names of hosts, and ports: what they mean, and what holds where none is given."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from werkzeug.sansio.utils import host_is_trusted

from config.forms import HOST_NAMES, HTTPS_SITE, SITE, WRITTEN
from config.reader import ConfigError, Reader

CLINIKO_API_URL = "https://api.{shard}.cliniko.com/v1"
SIMULATOR_NOTE = "simulator_url"  # in the instance folder; script/server writes the address there
SOCKET_PATH_BYTES = 103  # on macOS; Linux allows 107

_Door = tuple[str | None, int | None]  # a host and a port


def database_url(url: str | None, instance: Path) -> str:
    """As SQLAlchemy takes it; without one, a file in the instance folder."""
    if url is None:
        return f"sqlite:///{instance / 'patient_sync.db'}"
    scheme, separator, rest = url.partition("://")
    if separator and rest and scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        url = f"postgresql+psycopg://{rest}"  # SQLAlchemy does not know postgres://
        _check_parts("DATABASE_URL", url, _door_of_database)
        return url
    if scheme != "sqlite" or not rest.startswith("/"):
        raise ConfigError("DATABASE_URL must begin with sqlite:/// or postgresql://.")
    if rest in ("/", "/:memory:"):
        raise ConfigError("DATABASE_URL must name a file: web server and workers share it.")
    return url


def redis_url(url: str | None, instance: Path) -> str:
    """Without one, that of our own Redis."""
    if url is None:
        return f"unix://{redis_socket(instance)}"
    if not re.match("(rediss?://.|unix:///.)", url):
        raise ConfigError("REDIS_URL must begin with redis://, rediss:// or unix:///.")
    if not url.startswith("unix:"):
        _check_parts("REDIS_URL", url, _door_of_redis)
    return url


def _check_parts(name: str, url: str, door_of: Callable[[str], _Door]) -> None:
    """Raise ConfigError unless whoever connects finds the same host and port in an address as we
    do, and no @ stands behind them: else a part of its password may pass for a host, which is
    another one than production checks, and which errors tell."""
    try:
        parts, (host, port) = urlsplit(url), door_of(url)
        same = (unquote(parts.hostname or ""), parts.port) == (unquote(host or "").lower(), port)
    except ValueError:
        same = False
    if not same or "@" in parts.path + parts.query + parts.fragment:
        raise ConfigError(
            f"{name} is no address that can be understood. In its password write {WRITTEN}; behind "
            "the host %40 for @."
        )


# Imported when needed: script/server, which reads the settings too, has no other use for them.
def _door_of_database(url: str) -> _Door:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        read = make_url(url)
    except ArgumentError as error:
        raise ValueError from error
    return read.host, read.port


def _door_of_redis(url: str) -> _Door:
    from redis.connection import parse_url

    read = parse_url(url)  # type: ignore[no-untyped-call]
    return read.get("host"), read.get("port")


def redis_socket(instance: Path) -> Path:
    """Where our own Redis listens: in the instance folder if that is short and plain enough,
    otherwise in a folder among the temporary files."""
    path = instance / "redis.sock"
    # Redis tells its clients the path they came by; redis-py stumbles over a space or = in there.
    if len(str(path)) <= SOCKET_PATH_BYTES and re.fullmatch("[A-Za-z0-9._/-]+", str(path)):
        return path
    digest = hashlib.sha256(os.fsencode(instance)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"patient-sync-{digest}" / "redis.sock"


def cliniko_api_url(instance: Path, *, demo: bool) -> str:
    """A demo never calls the real Cliniko, not even before its simulator has run."""
    if not demo:
        return CLINIKO_API_URL
    note = instance / SIMULATOR_NOTE
    try:
        return note.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "http://127.0.0.1:8900/v1"
    except OSError as error:
        raise ConfigError(f"{note} cannot be read ({error.strerror}).") from None


def public_url(read: Reader, *, production: bool) -> str | None:
    """Links that are passed on begin with it: a Host header can be made up by anybody."""
    url = read.text("PUBLIC_URL", *(HTTPS_SITE if production else SITE))
    if url is None and production:
        raise ConfigError("PUBLIC_URL is missing: the links by which people are invited need it.")
    return url and url.rstrip("/")


def allowed_hosts(read: Reader, public_url: str | None, *, production: bool) -> tuple[str, ...]:
    """In production never any name at all: without a list the one that people are sent to, which
    must stand in a list too."""
    named = names(read.text("ALLOWED_HOSTS", *HOST_NAMES))
    called = urlsplit(public_url).hostname if public_url and production else None
    if called and named and not host_is_trusted(called, named):
        raise ConfigError(
            f"ALLOWED_HOSTS lacks {called}, the name in PUBLIC_URL: every link in a mail would "
            "lead to a page that is refused."
        )
    return named or ((called,) if called else ())


def names(text: str | None) -> tuple[str, ...]:
    """Names that commas separate."""
    return tuple(name.strip().lower() for name in text.split(",")) if text else ()


def webhook_ports(text: str) -> tuple[int, ...]:
    """Port numbers that commas separate."""
    ports = tuple(int(port) for port in text.split(","))
    if max(ports) > 65_535:
        raise ConfigError(f"WEBHOOK_PORTS must be numbers up to 65535, not {max(ports)}.")
    return ports
