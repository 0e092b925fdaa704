"""What production refuses: a debugger, a demo, and servers elsewhere that are open or unchecked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qs, urlsplit

from config.reader import ConfigError, Reader


def refuse_what_is_unsafe(
    read: Reader, redis_url: str | None, database_url: str | None, *, demo: bool
) -> None:
    """Raises ConfigError for what may be set in development alone."""
    _refuse_debugging(read)
    _refuse_open_doors("REDIS_URL", redis_url, encrypted=_redis_is_encrypted)
    _refuse_open_doors("DATABASE_URL", database_url, encrypted=_tls_is_checked)
    if demo:
        raise ConfigError("DEMO=1 shows invented patients; it cannot be used with ENV=production.")


def _refuse_debugging(read: Reader) -> None:
    """Flask's debugger runs whatever somebody types into an error page."""
    value = read.text("FLASK_DEBUG") or "0"
    if value.lower() not in ("0", "false", "no"):
        raise ConfigError("FLASK_DEBUG must not be set with ENV=production.")


def _refuse_open_doors(
    name: str, url: str | None, *, encrypted: Callable[[SplitResult], bool]
) -> None:
    """On another machine patients must not pass in the clear, nor be there for everybody."""
    if url is None or url.startswith("sqlite:"):
        return
    try:
        parts = urlsplit(url)
        elsewhere = [host for host in _hosts(parts) if not _is_this_machine(host)]
    except ValueError:
        raise ConfigError(f"{name} is no address that can be understood.") from None
    if elsewhere and not (parts.password or parse_qs(parts.query).get("password")):
        raise ConfigError(f"{name} needs a password: {elsewhere[0]} is another machine.")
    if elsewhere and not encrypted(parts):
        how = "begin with rediss://" if name == "REDIS_URL" else "say sslmode=verify-full"
        raise ConfigError(f"{name} must {how}: {elsewhere[0]} is another machine.")


def _hosts(url: SplitResult) -> list[str]:
    """All that an address leads to; the path of a socket, or nothing, is this machine. Raises
    ValueError where another file tells what it leads to."""
    query = parse_qs(url.query)
    if "service" in query:
        raise ValueError
    said = [*query.get("host", []), *query.get("hostaddr", [])]
    named = [host for hosts in said for host in hosts.split(",")]
    return [*named, *([url.hostname] if url.hostname else [])]


def _is_this_machine(host: str) -> bool:
    if host in ("", "localhost") or host.startswith("/"):
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def _redis_is_encrypted(url: SplitResult) -> bool:
    # Whoever cannot be recognised could be anybody.
    query = parse_qs(url.query)
    unchecked = {"none", "optional"} & set(query.get("ssl_cert_reqs", []))
    any_name = query.get("ssl_check_hostname", ["true"])[-1].lower() not in ("true", "1", "yes")
    return url.scheme == "rediss" and not unchecked and not any_name


def _tls_is_checked(url: SplitResult) -> bool:
    # With `require` whoever answers would do.
    modes = parse_qs(url.query).get("sslmode", [])
    return bool(modes) and modes[-1] in ("verify-ca", "verify-full")
