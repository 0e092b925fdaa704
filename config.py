"""Settings, read from the environment. Nonsense stops the start with one sentence."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO
from urllib.parse import SplitResult, parse_qs, urlsplit

from click import ClickException
from cryptography.fernet import Fernet
from werkzeug.sansio.utils import host_is_trusted

ROOT = Path(__file__).resolve().parent
CLINIKO_API_URL = "https://api.{shard}.cliniko.com/v1"
DEMO_CLINIKO_KEY = "invented-key-au1"  # opens the simulator, and nothing else
SIMULATOR_NOTE = "simulator_url"  # in the instance folder; script/server writes the address there
SOCKET_PATH_BYTES = 103  # on macOS; Linux allows 107

# What a setting must look like, and how to say so.
_WEB_ADDRESS = r"://(\{shard\}|[A-Za-z0-9.-])+(:[0-9]{1,5})?(/[^\s?#@]*)?"
HTTP_URL = ("https?" + _WEB_ADDRESS, "an address that begins with http:// or https://")
HTTPS_URL = ("https" + _WEB_ADDRESS, "an address that begins with https:// in production")
# Services that wait for calls tell their clients apart by a query, or by a name and a password.
CALLED_URL = (
    r"https?://([^\s/?#@:]+(:[^\s/?#@]*)?@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^\s?#]*)?(\?[^\s#]*)?",
    "an address that begins with http:// or https:// and has no #",
)
_SITE = r"://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?/?"
SITE = ("https?" + _SITE, "an address without a path that begins with http:// or https://")
HTTPS_SITE = ("https" + _SITE, "an address without a path that begins with https:// in production")
EMAIL = (r"[^@\s<>()]+@[^@\s<>()]+\.[^@\s.<>()]+", "an e-mail address")
HOST = ("[A-Za-z0-9.:-]+", "a name or an IP address")
_HOST_NAME = r"\.?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*"
HOST_NAMES = (rf"{_HOST_NAME}(\s*,\s*{_HOST_NAME})*", "names without ports, separated by commas")
INSIDE_NAMES = (
    r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(\s*,\s*[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*)*",
    "names without ports, separated by commas",
)
PORTS = (r"[1-9][0-9]{0,4}(\s*,\s*[1-9][0-9]{0,4})*", "port numbers, separated by commas")
SMTP_URL = (
    r"smtps?://([^\s/?#@:]+:[^\s/?#@]+@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?/?",
    "an address as smtp://user:password@host:587 or smtps://host; in the name of the user and in "
    "the password %40 stands for @",
)
HTMX_ADDRESS = (
    r"(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?(/[A-Za-z0-9._~@-]+)+",
    "the address of htmx that begins with https://, or its path on this server",
)
_MAKE_A_SECRET = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
BREACHED_LINE = rb"[0-9A-F]{40}:[0-9]+\r?\n?"
LONGEST_LINE = 64  # bytes of a list of breached passwords, and some to spare
GUESSABLE = ("changeme", "change-me", "change_me", "default", "example", "password", "secret")


class ConfigError(ClickException):
    """A setting is missing or makes no sense; the text says which one and what to do. It ends a
    command with that sentence."""

    exit_code = 2


class Environment(StrEnum):
    """Where we run: production refuses what development makes up by itself."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class SecondFactor(StrEnum):
    """Who must set a second factor up before anything else."""

    OPTIONAL = "optional"  # nobody
    REQUIRED = "required"  # admins and managers
    EVERYBODY = "everybody"  # viewers too


@dataclass(frozen=True)
class Settings:
    """Everything that can be set from outside."""

    environment: Environment
    instance: Path
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    embedded_redis: bool  # no REDIS_URL was given: script/server starts a server of its own
    cliniko_api_url: str
    demo: bool
    simulator: bool  # a demo without CLINIKO_API_URL: script/server starts the simulator
    cliniko_contact_email: str
    cliniko_rate_limit: int  # requests a minute
    secret_key: str = field(repr=False)
    secret_key_fallbacks: tuple[str, ...] = field(repr=False)
    credentials_keys: tuple[str, ...] = field(repr=False)  # newest first
    audit_keys: tuple[str, ...] = field(repr=False)  # newest first
    metrics_token: str | None = field(repr=False)
    public_url: str | None  # without a slash at the end; None: as whoever asks sees us
    second_factor: SecondFactor
    breached_passwords: Path | None  # None: no list is asked
    host: str
    port: int
    workers: int
    htmx_url: str | None  # None: the CDN
    allowed_hosts: tuple[str, ...]  # empty: any; in production never
    trusted_proxies: int
    log_level: str
    retention_days: int  # of what was known of patients who are deleted in Cliniko
    webhook_ports: tuple[int, ...]
    webhook_allowed_hosts: tuple[str, ...]  # receivers that may be in our own network
    smtp_url: str | None = field(repr=False)  # None: no mail is sent
    notices_from: str | None
    deadman_url: str | None = field(repr=False)

    def flask(self) -> dict[str, object]:
        """The configuration of the Flask application."""
        production = self.environment is Environment.PRODUCTION
        return {
            "ENV": self.environment.value,
            "DEMO": self.demo,
            "SECRET_KEY": self.secret_key,
            "SECRET_KEY_FALLBACKS": list(self.secret_key_fallbacks),
            "CREDENTIALS_KEYS": list(self.credentials_keys),
            "AUDIT_KEYS": list(self.audit_keys),
            "SQLALCHEMY_DATABASE_URI": self.database_url,
            "REDIS_URL": self.redis_url,
            "CLINIKO_API_URL": self.cliniko_api_url,
            "CLINIKO_CONTACT_EMAIL": self.cliniko_contact_email,
            "CLINIKO_RATE_LIMIT": self.cliniko_rate_limit,
            "METRICS_TOKEN": self.metrics_token,
            "PUBLIC_URL": self.public_url,
            "SECOND_FACTOR": self.second_factor.value,
            "BREACHED_PASSWORDS": self.breached_passwords,
            "HTMX_URL": self.htmx_url,
            "ALLOWED_HOSTS": list(self.allowed_hosts),
            "TRUSTED_PROXIES": self.trusted_proxies,
            "LOG_LEVEL": self.log_level,
            "RETENTION_DAYS": self.retention_days,
            "WEBHOOK_PORTS": list(self.webhook_ports),
            "WEBHOOK_ALLOWED_HOSTS": list(self.webhook_allowed_hosts),
            "SMTP_URL": self.smtp_url,
            "NOTICES_FROM": self.notices_from,
            "DEADMAN_URL": self.deadman_url,
            "MAX_CONTENT_LENGTH": 1024 * 1024,
            # Browsers take a __Host- cookie over HTTPS only, and from this very host only.
            "SESSION_COOKIE_NAME": "__Host-session" if production else "session",
            "SESSION_COOKIE_SECURE": production,
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_SAMESITE": "Lax",
        }


def load(environ: Mapping[str, str], *, instance: Path = ROOT / "instance") -> Settings:
    """Settings from environment variables; `instance` is the folder if INSTANCE_DIR names none.

    Makes the folder, and in development the secrets that are missing. Raises ConfigError.
    """
    read = _Reader(environ)
    environment = Environment(read.choice("ENV", list(Environment), Environment.DEVELOPMENT))
    production = environment is Environment.PRODUCTION
    instance = Path(read.text("INSTANCE_DIR") or instance).absolute()
    try:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"INSTANCE_DIR cannot be {instance} ({error.strerror}).") from None
    redis_url = read.secret("REDIS_URL")
    api_url = read.text("CLINIKO_API_URL", *(HTTPS_URL if production else HTTP_URL))
    demo = read.choice("DEMO", ["0", "1"], "0" if production or api_url else "1") == "1"
    if production:
        _refuse_debugging(read)
        _refuse_open_doors("REDIS_URL", redis_url, encrypted=_redis_is_encrypted)
        _refuse_open_doors("DATABASE_URL", read.secret("DATABASE_URL"), encrypted=_tls_is_checked)
    if demo and production:
        raise ConfigError("DEMO=1 shows invented patients; it cannot be used with ENV=production.")
    contact_email = read.text("CLINIKO_CONTACT_EMAIL", *EMAIL)
    if contact_email is None and not demo:
        raise ConfigError("CLINIKO_CONTACT_EMAIL is missing: Cliniko asks whom it can write to.")
    smtp_url = read.secret("SMTP_URL", *SMTP_URL)
    notices_from = read.text("NOTICES_FROM", *EMAIL)
    if smtp_url is not None and notices_from is None:
        raise ConfigError("NOTICES_FROM is missing: mail that goes to SMTP_URL needs a sender.")
    public_url = _public_url(read, production=production)
    return Settings(
        environment=environment,
        instance=instance,
        database_url=_database_url(read.secret("DATABASE_URL"), instance),
        redis_url=_redis_url(redis_url, instance),
        embedded_redis=redis_url is None,
        cliniko_api_url=(api_url or _cliniko_api_url(instance, demo=demo)).rstrip("/"),
        demo=demo,
        simulator=demo and api_url is None,
        cliniko_contact_email=contact_email or "demo@example.com",
        cliniko_rate_limit=read.number("CLINIKO_RATE_LIMIT", 200, highest=10_000),
        secret_key=_secret_key(read, instance, production=production),
        secret_key_fallbacks=_fallbacks(read, production=production),
        credentials_keys=_credentials_keys(read, instance, production=production),
        audit_keys=_audit_keys(read, instance, production=production),
        metrics_token=_metrics_token(read, production=production),
        public_url=public_url,
        second_factor=_second_factor(read, production=production),
        breached_passwords=_breached_passwords(read.text("BREACHED_PASSWORDS")),
        host=read.text("HOST", *HOST) or "127.0.0.1",
        port=read.number("PORT", 8000, highest=65_535),
        workers=read.number("WORKERS", 2, highest=64),
        htmx_url=read.text("HTMX_URL", *HTMX_ADDRESS),
        allowed_hosts=_allowed_hosts(read, public_url, production=production),
        trusted_proxies=read.number("TRUSTED_PROXIES", 0, lowest=0, highest=10),
        log_level=read.choice("LOG_LEVEL", ["info", "debug"], "info"),
        retention_days=read.number("RETENTION_DAYS", 90, highest=3650),
        webhook_ports=_ports(read.text("WEBHOOK_PORTS", *PORTS) or "443"),
        webhook_allowed_hosts=_names(read.text("WEBHOOK_ALLOWED_HOSTS", *INSIDE_NAMES)),
        smtp_url=smtp_url,
        notices_from=notices_from,
        deadman_url=read.secret("DEADMAN_URL", *CALLED_URL),
    )


def redis_socket(instance: Path) -> Path:
    """Where our own Redis listens: in the instance folder if that is short and plain enough,
    otherwise in a folder among the temporary files."""
    path = instance / "redis.sock"
    # Redis tells its clients the path they came by; redis-py stumbles over a space or = in there.
    if len(str(path)) <= SOCKET_PATH_BYTES and re.fullmatch("[A-Za-z0-9._/-]+", str(path)):
        return path
    digest = hashlib.sha256(os.fsencode(instance)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"patient-sync-{digest}" / "redis.sock"


class _Reader:
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


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(",")) if text else ()


def _ports(text: str) -> tuple[int, ...]:
    ports = tuple(int(port) for port in text.split(","))
    if max(ports) > 65_535:
        raise ConfigError(f"WEBHOOK_PORTS must be numbers up to 65535, not {max(ports)}.")
    return ports


def _database_url(url: str | None, instance: Path) -> str:
    if url is None:
        return f"sqlite:///{instance / 'patient_sync.db'}"
    scheme, separator, rest = url.partition("://")
    if separator and rest and scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"  # SQLAlchemy does not know postgres://
    if scheme != "sqlite" or not rest.startswith("/"):
        raise ConfigError("DATABASE_URL must begin with sqlite:/// or postgresql://.")
    if rest in ("/", "/:memory:"):
        raise ConfigError("DATABASE_URL must name a file: web server and workers share it.")
    return url


def _cliniko_api_url(instance: Path, *, demo: bool) -> str:
    """A demo never calls the real Cliniko, not even before its simulator has run."""
    if not demo:
        return CLINIKO_API_URL
    note = instance / SIMULATOR_NOTE
    return note.read_text(encoding="utf-8") if note.exists() else "http://127.0.0.1:8900/v1"


def _redis_url(url: str | None, instance: Path) -> str:
    if url is None:
        return f"unix://{redis_socket(instance)}"
    if not re.match("(rediss?://.|unix:///.)", url):
        raise ConfigError("REDIS_URL must begin with redis://, rediss:// or unix:///.")
    return url


def _secret_key(read: _Reader, instance: Path, *, production: bool) -> str:
    key = read.secret("SECRET_KEY")
    if key is None and not production:
        return _kept(instance / "secret_key", secrets.token_urlsafe)
    if key is None:
        raise ConfigError(f"SECRET_KEY is missing; {_MAKE_A_SECRET}")
    if production and _is_guessable(key):
        raise ConfigError(f"SECRET_KEY can be guessed; {_MAKE_A_SECRET}")
    return key


def _is_guessable(key: str) -> bool:
    words = any(word in key.lower() for word in GUESSABLE)
    return len(key) < 32 or len(set(key)) < 8 or words


def _metrics_token(read: _Reader, *, production: bool) -> str | None:
    token = read.secret("METRICS_TOKEN")
    if production and token is not None and _is_guessable(token):
        raise ConfigError(f"METRICS_TOKEN can be guessed; {_MAKE_A_SECRET}")
    return token


def _refuse_debugging(read: _Reader) -> None:
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


def _listed(value: str) -> tuple[str, ...]:
    """The keys of a list; a comma too many adds none."""
    return tuple(key.strip() for key in value.split(",") if key.strip())


def _keys(name: str, value: str) -> tuple[str, ...]:
    keys = _listed(value)
    if not keys:
        raise ConfigError(f"{name} holds no key.")
    return keys


def _fallbacks(read: _Reader, *, production: bool) -> tuple[str, ...]:
    """Earlier secret keys: what they have signed holds until it expires."""
    keys = _listed(read.secret("SECRET_KEY_FALLBACKS") or "")
    if production and any(_is_guessable(key) for key in keys):
        raise ConfigError("A key of SECRET_KEY_FALLBACKS can be guessed; leave it out.")
    return keys


def _credentials_keys(read: _Reader, instance: Path, *, production: bool) -> tuple[str, ...]:
    value = read.secret("CREDENTIALS_KEYS")
    if value is None and production:
        make = "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"
        raise ConfigError(f"CREDENTIALS_KEYS is missing; make one with: python3 -c '{make}'")
    if value is None:
        value = _kept(instance / "credentials_keys", lambda: Fernet.generate_key().decode())
    keys = _keys("CREDENTIALS_KEYS", value)
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise ConfigError(f"Key {number} of CREDENTIALS_KEYS is no Fernet key.") from None
        content = base64.urlsafe_b64decode(key)
        # Words or a few bytes over and over; of random bytes hardly any key looks like that.
        if production and (content.isascii() or len(set(content)) < 8):
            raise ConfigError(f"Key {number} of CREDENTIALS_KEYS can be guessed; make another.")
    return keys


def _audit_keys(read: _Reader, instance: Path, *, production: bool) -> tuple[str, ...]:
    """What the audit trail is signed with. An earlier key stays, or what it signed cannot be
    verified any more."""
    value = read.secret("AUDIT_KEYS")
    if value is None and production:
        raise ConfigError(f"AUDIT_KEYS is missing; {_MAKE_A_SECRET}")
    if value is None:
        value = _kept(instance / "audit_keys", secrets.token_urlsafe)
    keys = _keys("AUDIT_KEYS", value)
    if production and any(_is_guessable(key) for key in keys):
        raise ConfigError(f"A key of AUDIT_KEYS can be guessed; {_MAKE_A_SECRET}")
    return keys


def _public_url(read: _Reader, *, production: bool) -> str | None:
    """Links that are passed on begin with it: a Host header can be made up by anybody."""
    url = read.text("PUBLIC_URL", *(HTTPS_SITE if production else SITE))
    if url is None and production:
        raise ConfigError("PUBLIC_URL is missing: the links by which people are invited need it.")
    return url and url.rstrip("/")


def _allowed_hosts(read: _Reader, public_url: str | None, *, production: bool) -> tuple[str, ...]:
    """In production never any name at all: without a list the one that people are sent to, which
    must stand in a list too."""
    named = _names(read.text("ALLOWED_HOSTS", *HOST_NAMES))
    called = urlsplit(public_url).hostname if public_url and production else None
    if called and named and not host_is_trusted(called, named):
        raise ConfigError(
            f"ALLOWED_HOSTS lacks {called}, the name in PUBLIC_URL: every link in a mail would "
            "lead to a page that is refused."
        )
    return named or ((called,) if called else ())


def _second_factor(read: _Reader, *, production: bool) -> SecondFactor:
    default = SecondFactor.REQUIRED if production else SecondFactor.OPTIONAL
    return SecondFactor(read.choice("SECOND_FACTOR", list(SecondFactor), default))


def _breached_passwords(name: str | None) -> Path | None:
    """In a list of another form or order nothing is found, and every password would pass: its
    first line, its last one and some between are looked at."""
    if name is None:
        return None
    path = Path(name).absolute()
    try:
        if not path.is_file():
            raise ConfigError(f"BREACHED_PASSWORDS: {path} is no file.")
        with path.open("rb") as file:
            lines = _some_lines(file, path.stat().st_size)
    except OSError as error:
        raise ConfigError(
            f"BREACHED_PASSWORDS: {path} cannot be read ({error.strerror})."
        ) from None
    if not all(re.fullmatch(BREACHED_LINE, line) for line in lines):
        raise ConfigError(
            f"BREACHED_PASSWORDS: {path} must hold lines as SHA1:count, the SHA-1 of each password "
            "as 40 digits and capital letters."
        )
    if lines != sorted(lines):
        raise ConfigError(f"BREACHED_PASSWORDS: {path} must be ordered by hash, not by count.")
    return path


def _some_lines(file: BinaryIO, size: int) -> list[bytes]:
    """The first line, some between and the last, in the order in which they stand."""
    lines = [file.readline(LONGEST_LINE)]
    for part in range(1, 32):
        file.seek(size * part // 32)
        file.readline(LONGEST_LINE)  # the rest of the one that begins before
        lines += filter(None, [file.readline(LONGEST_LINE)])
    file.seek(max(0, size - LONGEST_LINE))
    return lines + file.read().splitlines(keepends=True)[-1:]


def _kept(path: Path, make: Callable[[], str]) -> str:
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
