"""Settings, read from the environment. Nonsense stops the start with one sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from config import addresses, forms, keys
from config.addresses import CLINIKO_API_URL as CLINIKO_API_URL
from config.addresses import SIMULATOR_NOTE as SIMULATOR_NOTE
from config.addresses import redis_socket as redis_socket
from config.breached import breached_passwords
from config.production import refuse_what_is_unsafe
from config.reader import ConfigError as ConfigError
from config.reader import Reader

ROOT = Path(__file__).resolve().parent.parent
DEMO_CLINIKO_KEY = "invented-key-au1"  # opens the simulator, and nothing else


class Environment(StrEnum):
    """Where we run: production refuses what development makes up by itself."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class SecondFactor(StrEnum):
    """Who must set a second factor up before anything else."""

    OPTIONAL = "optional"  # nobody
    REQUIRED = "required"  # admins and managers
    EVERYBODY = "everybody"  # viewers too


# What the application calls otherwise than by the setting's own name.
_FLASK_NAMES = {"environment": "ENV", "database_url": "SQLALCHEMY_DATABASE_URI"}


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
        """The configuration of the Flask application: every setting, by its name in capitals."""
        production = self.environment is Environment.PRODUCTION
        return {
            **{_FLASK_NAMES.get(name, name.upper()): value for name, value in vars(self).items()},
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
    read = Reader(environ)
    environment = Environment(read.choice("ENV", list(Environment), Environment.DEVELOPMENT))
    production = environment is Environment.PRODUCTION
    instance = Path(read.text("INSTANCE_DIR") or instance).absolute()
    try:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"INSTANCE_DIR cannot be {instance} ({error.strerror}).") from None
    if not os.access(instance, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"INSTANCE_DIR cannot be {instance}: this user may not read and write there. Run "
            "Patient Sync as the user whom it belongs to, or hand it over with chown -R."
        )
    given_redis, given_database = read.secret("REDIS_URL"), read.secret("DATABASE_URL")
    redis_url = addresses.redis_url(given_redis, instance)
    database_url = addresses.database_url(given_database, instance)
    api_url = read.text("CLINIKO_API_URL", *(forms.HTTPS_URL if production else forms.HTTP_URL))
    demo = read.choice("DEMO", ["0", "1"], "0" if production or api_url else "1") == "1"
    if production:
        refuse_what_is_unsafe(read, given_redis, given_database, demo=demo)
    contact_email = read.text("CLINIKO_CONTACT_EMAIL", *forms.EMAIL)
    if contact_email is None and not demo:
        raise ConfigError("CLINIKO_CONTACT_EMAIL is missing: Cliniko asks whom it can write to.")
    smtp_url = read.secret_address("SMTP_URL", *forms.SMTP_URL)
    notices_from = read.text("NOTICES_FROM", *forms.EMAIL)
    if smtp_url is not None and notices_from is None:
        raise ConfigError("NOTICES_FROM is missing: mail that goes to SMTP_URL needs a sender.")
    public_url = addresses.public_url(read, production=production)
    return Settings(
        environment=environment,
        instance=instance,
        database_url=database_url,
        redis_url=redis_url,
        embedded_redis=given_redis is None,
        cliniko_api_url=(api_url or addresses.cliniko_api_url(instance, demo=demo)).rstrip("/"),
        demo=demo,
        simulator=demo and api_url is None,
        cliniko_contact_email=contact_email or "demo@example.com",
        cliniko_rate_limit=read.number("CLINIKO_RATE_LIMIT", 200, highest=10_000),
        secret_key=keys.secret_key(read, instance, production=production),
        secret_key_fallbacks=keys.secret_key_fallbacks(read, production=production),
        credentials_keys=keys.credentials_keys(read, instance, production=production),
        audit_keys=keys.audit_keys(read, instance, production=production),
        metrics_token=keys.metrics_token(read, production=production),
        public_url=public_url,
        second_factor=_second_factor(read, production=production),
        breached_passwords=breached_passwords(read.text("BREACHED_PASSWORDS")),
        host=read.text("HOST", *forms.HOST) or "127.0.0.1",
        port=read.number("PORT", 8000, highest=65_535),
        workers=read.number("WORKERS", 2, highest=64),
        htmx_url=read.text("HTMX_URL", *forms.HTMX_ADDRESS),
        allowed_hosts=addresses.allowed_hosts(read, public_url, production=production),
        trusted_proxies=read.number("TRUSTED_PROXIES", 0, lowest=0, highest=10),
        log_level=read.choice("LOG_LEVEL", ["info", "debug"], "info"),
        retention_days=read.number("RETENTION_DAYS", 90, highest=3650),
        webhook_ports=addresses.webhook_ports(read.text("WEBHOOK_PORTS", *forms.PORTS) or "443"),
        webhook_allowed_hosts=addresses.names(
            read.text("WEBHOOK_ALLOWED_HOSTS", *forms.INSIDE_NAMES)
        ),
        smtp_url=smtp_url,
        notices_from=notices_from,
        deadman_url=read.secret_address("DEADMAN_URL", *forms.CALLED_URL),
    )


def _second_factor(read: Reader, *, production: bool) -> SecondFactor:
    default = SecondFactor.REQUIRED if production else SecondFactor.OPTIONAL
    return SecondFactor(read.choice("SECOND_FACTOR", list(SecondFactor), default))
