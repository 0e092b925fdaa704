from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet
from redis import Redis
from sqlalchemy import make_url

from config import ROOT, SIMULATOR_NOTE, ConfigError, Settings, load, redis_socket

FERNET_KEY = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
PRODUCTION = {
    "ENV": "production",
    "SECRET_KEY": "Vq3XyZ0aKc8mRt5uWb1nHs7pLd4eGf9jTo2i",
    "CREDENTIALS_KEYS": FERNET_KEY,
    "AUDIT_KEYS": "mUq7ZrT2xKp9LwVb4Nc8HsYd3Fg6JaE1Qo5i",
    "CLINIKO_CONTACT_EMAIL": "ops@clinic.example",
    "PUBLIC_URL": "https://patients.clinic.example",
}


def load_in(folder: Path, **environ: str) -> Settings:
    return load(environ, instance=folder / "instance")


def test_nothing_has_to_be_set_in_development(tmp_path: Path) -> None:
    settings = load_in(tmp_path)
    instance = tmp_path / "instance"
    assert settings.environment == "development"
    assert settings.instance == instance
    assert settings.database_url == f"sqlite:///{instance}/patient_sync.db"
    assert settings.embedded_redis
    assert (settings.demo, settings.simulator) == (True, True)
    assert settings.cliniko_contact_email == "demo@example.com"
    assert settings.cliniko_rate_limit == 200
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 2)
    assert (settings.allowed_hosts, settings.trusted_proxies) == ((), 0)
    assert (settings.retention_days, settings.log_level) == (90, "info")
    assert (settings.htmx_url, settings.breached_passwords) == (None, None)
    assert (settings.webhook_ports, settings.webhook_allowed_hosts) == ((443,), ())
    assert (settings.smtp_url, settings.notices_from, settings.deadman_url) == (None, None, None)
    assert stat.S_IMODE(instance.stat().st_mode) == 0o700


def test_production_talks_to_the_real_cliniko(tmp_path: Path) -> None:
    settings = load_in(tmp_path, **PRODUCTION)
    assert settings.cliniko_api_url == "https://api.{shard}.cliniko.com/v1"
    assert (settings.demo, settings.simulator) == (False, False)
    assert list(settings.instance.iterdir()) == []


def test_empty_means_not_set(tmp_path: Path) -> None:
    assert load_in(tmp_path, PORT="", REDIS_URL=" ", ENV="") == load_in(tmp_path)


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("postgres://u:p@db/clinics", "postgresql+psycopg://u:p@db/clinics"),
        ("postgresql://u:p@db/clinics", "postgresql+psycopg://u:p@db/clinics"),
        ("postgresql+psycopg:///clinics?host=/run", "postgresql+psycopg:///clinics?host=/run"),
        ("sqlite:////var/lib/patients.db", "sqlite:////var/lib/patients.db"),
    ],
)
def test_it_understands_database_urls(tmp_path: Path, given: str, understood: str) -> None:
    assert load_in(tmp_path, DATABASE_URL=given).database_url == understood


def test_a_given_redis_needs_no_embedded_one(tmp_path: Path) -> None:
    settings = load_in(tmp_path, REDIS_URL="rediss://:pw@cache:6380/2")
    assert settings.redis_url == "rediss://:pw@cache:6380/2"
    assert not settings.embedded_redis


@pytest.mark.parametrize("name", ["short", "x" * 90, "with space", "with=sign", "ünlaut"])
def test_the_embedded_redis_has_a_path_that_sockets_and_clients_can_take(name: str) -> None:
    instance = Path("/srv") / name
    path = redis_socket(instance)
    assert path.name == "redis.sock"
    assert (path.parent == instance) == (name == "short")
    assert len(str(path)) < 104
    assert not set(str(path)) & set(" =ü")


def test_a_given_cliniko_needs_no_simulator(tmp_path: Path) -> None:
    settings = load_in(
        tmp_path,
        CLINIKO_API_URL="http://127.0.0.1:9999/v1/",
        CLINIKO_CONTACT_EMAIL="me@example.com",
    )
    assert settings.cliniko_api_url == "http://127.0.0.1:9999/v1"
    assert (settings.demo, settings.simulator) == (False, False)


def test_a_demo_can_use_a_simulator_that_runs_already(tmp_path: Path) -> None:
    settings = load_in(tmp_path, DEMO="1", CLINIKO_API_URL="http://127.0.0.1:9999/v1")
    assert (settings.demo, settings.simulator) == (True, False)


def test_a_demo_never_calls_the_real_cliniko(tmp_path: Path) -> None:
    assert load_in(tmp_path).cliniko_api_url == "http://127.0.0.1:8900/v1"
    (tmp_path / "instance" / SIMULATOR_NOTE).write_text("http://127.0.0.1:9999/v1")
    assert load_in(tmp_path).cliniko_api_url == "http://127.0.0.1:9999/v1"


def test_hosts_are_named_with_commas_between_them(tmp_path: Path) -> None:
    settings = load_in(tmp_path, ALLOWED_HOSTS="Patients.clinic.example , .other.example")
    assert settings.allowed_hosts == ("patients.clinic.example", ".other.example")


def test_in_production_it_goes_by_the_name_in_its_address_unless_others_are_listed(
    tmp_path: Path,
) -> None:
    address = {"PUBLIC_URL": "https://Patients.clinic.example:8443/"}
    assert load_in(tmp_path, **(PRODUCTION | address)).allowed_hosts == ("patients.clinic.example",)
    for covering in (".clinic.example", ".patients.clinic.example"):
        listed = load_in(tmp_path, **PRODUCTION, ALLOWED_HOSTS=f"a.example, {covering}")
        assert listed.allowed_hosts == ("a.example", covering)
    assert load_in(tmp_path, PUBLIC_URL="http://here:8000").allowed_hosts == ()


@pytest.mark.parametrize("hosts", ["a.example", "clinic.example", ".at.clinic.example"])
def test_a_list_without_the_name_that_mails_lead_to_is_refused(tmp_path: Path, hosts: str) -> None:
    with pytest.raises(ConfigError, match="ALLOWED_HOSTS lacks patients"):
        load_in(tmp_path, **PRODUCTION, ALLOWED_HOSTS=hosts)


@pytest.mark.parametrize("name", [".clinic.example", ".", "clinic.example.", "clinic..example"])
def test_no_address_lets_more_names_in_than_its_own(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="PUBLIC_URL must be"):
        load_in(tmp_path, **{**PRODUCTION, "PUBLIC_URL": f"https://{name}"})


def test_links_begin_with_the_address_that_is_set(tmp_path: Path) -> None:
    assert load_in(tmp_path).public_url is None
    assert load_in(tmp_path, PUBLIC_URL="http://here:8000/").public_url == "http://here:8000"
    with pytest.raises(ConfigError, match="https:// in production"):
        load_in(tmp_path, **{**PRODUCTION, "PUBLIC_URL": "http://patients.clinic.example"})


def test_production_asks_for_a_second_factor_unless_told_otherwise(tmp_path: Path) -> None:
    assert load_in(tmp_path).second_factor == "optional"
    assert load_in(tmp_path, **PRODUCTION).second_factor == "required"
    for said in ("optional", "required", "everybody"):
        assert load_in(tmp_path, **PRODUCTION, SECOND_FACTOR=said).second_factor == said


@pytest.mark.parametrize("proxies", [0, 1, 10])
def test_proxies_are_counted(tmp_path: Path, proxies: int) -> None:
    assert load_in(tmp_path, TRUSTED_PROXIES=str(proxies)).trusted_proxies == proxies


def test_mail_has_a_server_and_a_sender(tmp_path: Path) -> None:
    url = "smtps://user:pass%20word@mail.example:465"
    settings = load_in(tmp_path, SMTP_URL=url, NOTICES_FROM="sync@clinic.example")
    assert settings.flask()["SMTP_URL"] == url
    assert "pass%20word" not in repr(settings)
    with pytest.raises(ConfigError, match="NOTICES_FROM is missing"):
        load_in(tmp_path, SMTP_URL=url)


def test_a_mail_server_that_makes_no_sense_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SMTP_URL must be") as refused:
        load_in(tmp_path, SMTP_URL="smtp://user:hidden@", NOTICES_FROM="sync@clinic.example")
    assert "hidden" not in str(refused.value)


def test_a_user_of_a_mail_server_may_be_an_address(tmp_path: Path) -> None:
    written = {"SMTP_URL": "smtp://a%40b.example:pw@mail.example", "NOTICES_FROM": "a@b.example"}
    assert load_in(tmp_path, **written).smtp_url == written["SMTP_URL"]
    with pytest.raises(ConfigError, match=r"SMTP_URL must be .* %40 for @"):
        load_in(tmp_path, SMTP_URL="smtp://a@b.example:pw@mail.example", NOTICES_FROM="a@b.example")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        *(
            (name, f"{scheme}://user:Hid{character}den@mail.example:587")
            for name, scheme in (("SMTP_URL", "smtp"), ("DEADMAN_URL", "https"))
            for character in (*"@/?#[]℀Ж", "%D0%96")
        ),
        *(
            (name, f"{scheme}://user:hidden@mail.example:{port}")
            for name, scheme in (("SMTP_URL", "smtp"), ("DEADMAN_URL", "https"))
            for port in (0, 65536, 70000)
        ),
        ("SMTP_URL", "smtp://user:Hid%C3%A4den@mail.example"),
        ("SMTP_URL", "smtp://user:hidden@mail..example"),
        ("DEADMAN_URL", f"https://user:hidden@{'mail' * 16}.example"),
    ],
)
def test_an_address_that_could_not_be_called_is_told_of_at_the_start_and_not_shown(
    tmp_path: Path, name: str, url: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be an address .* 65535") as refused:
        load_in(tmp_path, **{name: url}, NOTICES_FROM="sync@clinic.example")
    for character in "@:/?#[]%":
        assert f"{quote(character, safe='')} for {character}" in str(refused.value)
    for part in ("hid", "den", "70000"):
        assert part not in str(refused.value).lower()
    assert refused.value.__cause__ is refused.value.__context__ is None


def test_a_mail_server_and_who_waits_may_have_any_password(tmp_path: Path) -> None:
    password = quote("@:/?#[]%41 ~", safe="")
    smtp = f"smtp://u:{password}@mail.example:65535"
    waits = f"https://u:{password}{quote('ü')}@mail.example:65535"
    settings = load_in(
        tmp_path, SMTP_URL=smtp, NOTICES_FROM="sync@clinic.example", DEADMAN_URL=waits
    )
    assert (settings.smtp_url, settings.deadman_url) == (smtp, waits)


@pytest.mark.parametrize(
    "url",
    [
        "https://hc-ping.com/0d9c4b6e-6a0c-4f0e-9d0a-2f1c8f3a7b11",
        "http://kuma.lan:3001/api/push/hidden?status=up&msg=OK&ping=",
        "https://ping.example?id=hidden",
        "https://sync:hid%40den@ping.example/@home/",
        "https://hidden@ping.example",
    ],
)
def test_whoever_waits_for_a_sign_of_life_may_want_a_query_or_a_password(
    tmp_path: Path, url: str
) -> None:
    settings = load_in(tmp_path, DEADMAN_URL=url)
    assert settings.deadman_url == url
    assert "hidden" not in repr(settings)


def test_webhooks_may_have_more_ports_and_receivers_inside(tmp_path: Path) -> None:
    settings = load_in(tmp_path, WEBHOOK_PORTS="443, 8443", WEBHOOK_ALLOWED_HOSTS="CRM, crm.lan")
    assert settings.webhook_ports == (443, 8443)
    assert settings.webhook_allowed_hosts == ("crm", "crm.lan")


def breached(count: int, *, end: str = "\r\n") -> list[str]:
    """The lines of a list of breached passwords, in order."""
    hashes = sorted(sha1(b"%d" % number).hexdigest().upper() for number in range(count))
    return [f"{each}:{number + 1}{end}" for number, each in enumerate(hashes)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("count", [1, 2, 50, 5000])
def test_a_list_of_breached_passwords_can_be_named(tmp_path: Path, count: int, end: str) -> None:
    file = tmp_path / "pwned.txt"
    for text in ("".join(breached(count, end=end)), "".join(breached(count, end=end))[: -len(end)]):
        file.write_text(text, newline="")
        assert load_in(tmp_path, BREACHED_PASSWORDS=str(file)).breached_passwords == file


ORDERED = breached(5000)
USELESS_LISTS = {
    "empty": ([], "lines as SHA1:count"),
    "small letters": ([line.lower() for line in ORDERED], "capital letters"),
    "hashes alone": ([line[:40] + "\n" for line in ORDERED], "lines as SHA1:count"),
    "passwords": (["password\n", "letmein\n"], "lines as SHA1:count"),
    "NTLM": ([line[8:] for line in ORDERED], "lines as SHA1:count"),
    "a file that was cut off": ([*ORDERED, "FFFFFF"], "lines as SHA1:count"),
    "a page in front of it": (["<html>\n", *ORDERED], "lines as SHA1:count"),
    "one long line": (["F" * 100_000], "lines as SHA1:count"),
    "the last first": (ORDERED[::-1], "ordered by hash"),
    "by count": (sorted(ORDERED, key=lambda line: line[::-1]), "ordered by hash"),
    "the last line alone": ([*ORDERED, ORDERED[0]], "ordered by hash"),
}


@pytest.mark.parametrize("kind", USELESS_LISTS)
def test_a_list_of_breached_passwords_that_finds_nothing_stops_the_start(
    tmp_path: Path, kind: str
) -> None:
    lines, words = USELESS_LISTS[kind]
    (tmp_path / "pwned.txt").write_text("".join(lines), newline="")
    with pytest.raises(ConfigError, match=f"BREACHED_PASSWORDS: .*{words}"):
        load_in(tmp_path, BREACHED_PASSWORDS=str(tmp_path / "pwned.txt"))


def test_an_instance_folder_can_be_named(tmp_path: Path) -> None:
    settings = load_in(tmp_path, INSTANCE_DIR=str(tmp_path / "elsewhere"))
    assert settings.instance == tmp_path / "elsewhere"
    assert not (tmp_path / "instance").exists()


HIDDEN = [
    "Hid/den",
    "Hid?den",
    "Hid#den",
    "Hid@den",
    "Hid@den/1",
    "Hid@12:34/1",
    "Hid:d@e:n",
    "Hid[den",
]
SENT = "is no address that can be understood. In its password write %40 for @"


@pytest.mark.parametrize("environment", [{}, PRODUCTION], ids=["development", "production"])
@pytest.mark.parametrize(
    ("name", "url"),
    [
        *(
            (
                "DATABASE_URL",
                f"postgresql://{user}{password}@db.example/clinics?sslmode=verify-full",
            )
            for password in HIDDEN
            for user in ("u:", "localhost:5/")
        ),
        ("DATABASE_URL", "postgresql://Hid/den@db.example/clinics"),
        ("DATABASE_URL", "postgresql://Hid@den?x@db.example/clinics"),
        ("DATABASE_URL", "postgresql://u:hidden@db.example:hidden/clinics"),
        ("DATABASE_URL", "postgresql://u:hidden@db.example:99999/clinics"),
        *(
            ("REDIS_URL", f"rediss://{user}{password}@redis.example:6379/0")
            for password in HIDDEN
            if password not in ("Hid@den", "Hid:d@e:n")
            for user in (":", "", "u:", ":12/")
        ),
        ("REDIS_URL", "rediss://:hidden@redis.example:hidden/0"),
        ("REDIS_URL", "rediss://:hidden@redis.example/0?socket_timeout=hidden"),
    ],
)
def test_a_password_that_is_not_written_as_in_an_address_is_told_of_and_not_shown(
    tmp_path: Path, environment: dict[str, str], name: str, url: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_in(tmp_path, **environment, **{name: url})
    assert f"{name} {SENT}" in str(refused.value)
    for part in ("hid", "den", "12", "99999"):
        assert part not in str(refused.value).lower()
    assert refused.value.__cause__ is refused.value.__context__ is None


def test_a_password_may_hold_whatever_is_written_as_in_an_address(tmp_path: Path) -> None:
    password = quote("@:/?#[]% ü", safe="")
    database = f"postgresql://u:{password}@db.example:5433/c?sslmode=verify-full"
    redis = f"rediss://:{password}@[2001:db8::1]:6380/0"
    settings = load_in(tmp_path, **PRODUCTION, DATABASE_URL=database, REDIS_URL=redis)
    assert make_url(settings.database_url).password == "@:/?#[]% ü"
    assert Redis.from_url(settings.redis_url).get_connection_kwargs()["password"] == "@:/?#[]% ü"
    # Redis' own reader takes these as they are, and so does ours.
    plain = "rediss://:p@s:s@redis.example:6379/0"
    assert load_in(tmp_path, **PRODUCTION, REDIS_URL=plain).redis_url == plain


NONSENSE = [
    ("ENV", "staging"),
    ("DEMO", "yes"),
    ("DATABASE_URL", "mysql://u:p@db/clinics"),
    ("DATABASE_URL", "postgresql://"),
    ("DATABASE_URL", "sqlite://"),
    ("DATABASE_URL", "sqlite:///:memory:"),
    ("REDIS_URL", "localhost:6379"),
    ("REDIS_URL", "unix://redis.sock"),
    ("CLINIKO_API_URL", "api.cliniko.com"),
    ("CLINIKO_API_URL", "ftp://api.cliniko.com"),
    ("CLINIKO_API_URL", "https://user:pw@api.cliniko.com"),
    ("CLINIKO_API_URL", "https://api.{region}.cliniko.com"),
    ("CLINIKO_API_URL", "https://api.cliniko.com/v1?x=1"),
    ("CLINIKO_CONTACT_EMAIL", "nobody"),
    ("CLINIKO_CONTACT_EMAIL", "a b@example.com"),
    ("CLINIKO_RATE_LIMIT", "0"),
    ("CLINIKO_RATE_LIMIT", "10001"),
    ("CLINIKO_RATE_LIMIT", "many"),
    ("PUBLIC_URL", "patients.clinic.example"),
    ("PUBLIC_URL", "https://patients.clinic.example/here"),
    ("PUBLIC_URL", "https://user@patients.clinic.example"),
    ("PUBLIC_URL", "https://patients.{shard}.example"),
    ("SECOND_FACTOR", "yes"),
    ("HTMX_URL", "http://cdn.example/htmx.js"),
    ("HTMX_URL", "https://cdn.example/htmx.js; script-src *"),
    ("HTMX_URL", "//cdn.example/htmx.js"),
    ("HTMX_URL", "htmx.js"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "80.5"),
    ("PORT", "-1"),
    ("WORKERS", "65"),
    ("WORKERS", "٣"),
    ("HOST", "http://localhost"),
    ("ALLOWED_HOSTS", "https://clinic.example"),
    ("ALLOWED_HOSTS", "clinic.example:8000"),
    ("ALLOWED_HOSTS", "clinic.example,"),
    ("ALLOWED_HOSTS", "*"),
    ("ALLOWED_HOSTS", "."),
    ("ALLOWED_HOSTS", f"{64 * 'x'}.example"),
    ("LOG_LEVEL", "verbose"),
    ("RETENTION_DAYS", "0"),
    ("TRUSTED_PROXIES", "11"),
    ("TRUSTED_PROXIES", "-1"),
    ("TRUSTED_PROXIES", "10.0.0.1"),
    ("CREDENTIALS_KEYS", "not-a-key"),
    ("CREDENTIALS_KEYS", ","),
    ("AUDIT_KEYS", " , "),
    ("WEBHOOK_PORTS", "0"),
    ("WEBHOOK_PORTS", "443;8443"),
    ("WEBHOOK_PORTS", "65536"),
    ("WEBHOOK_ALLOWED_HOSTS", "https://crm.example"),
    ("WEBHOOK_ALLOWED_HOSTS", "crm.example:8080"),
    ("WEBHOOK_ALLOWED_HOSTS", ".example"),
    ("SMTP_URL", "mail.example"),
    ("SMTP_URL", "smtp://user@mail.example"),
    ("NOTICES_FROM", "nobody"),
    ("NOTICES_FROM", "Sync <sync@clinic.example>"),
    ("DEADMAN_URL", "ping.example"),
    ("DEADMAN_URL", "ftp://ping.example"),
    ("DEADMAN_URL", "https://"),
    ("DEADMAN_URL", "https://?status=up"),
    ("DEADMAN_URL", "https://ping.example/#up"),
    ("DEADMAN_URL", "https://ping.example/?msg=all well"),
    ("DEADMAN_URL", "https://ping.{shard}.example"),
    ("INSTANCE_DIR", "/dev/null/instance"),
    ("BREACHED_PASSWORDS", "/nowhere/pwned.txt"),
    ("BREACHED_PASSWORDS", "/dev/null"),
    ("BREACHED_PASSWORDS", "/"),
]


@pytest.mark.parametrize(("name", "value"), NONSENSE)
def test_nonsense_stops_the_start(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as refused:
        load_in(tmp_path, **{name: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["SECRET_KEY", "CREDENTIALS_KEYS", "AUDIT_KEYS", "CLINIKO_CONTACT_EMAIL", "PUBLIC_URL"],
)
def test_production_makes_nothing_up(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is missing"):
        load_in(tmp_path, **{**PRODUCTION, name: ""})


@pytest.mark.parametrize(
    "key", ["short", "x" * 64, "abab" * 16, "ChangeMe-Vq3XyZ0aKc8mRt5uWb1nHs7pLd4eGf9j"]
)
def test_production_refuses_a_weak_secret_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="SECRET_KEY can be guessed") as refused:
        load_in(tmp_path, **{**PRODUCTION, "SECRET_KEY": key})
    assert key not in str(refused.value)


def test_production_refuses_cliniko_in_plain_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="https://"):
        load_in(tmp_path, **PRODUCTION, CLINIKO_API_URL="http://api.cliniko.com/v1")


def test_production_refuses_a_demo(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DEMO=1"):
        load_in(tmp_path, **PRODUCTION, DEMO="1")


def test_a_real_cliniko_wants_an_address_in_development_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CLINIKO_CONTACT_EMAIL is missing"):
        load_in(tmp_path, DEMO="0")


def test_earlier_secret_keys_are_kept_for_what_they_have_signed(tmp_path: Path) -> None:
    one, two = PRODUCTION["SECRET_KEY"][::-1], PRODUCTION["SECRET_KEY"][1:] + "0"
    settings = load_in(tmp_path, **PRODUCTION, SECRET_KEY_FALLBACKS=f"{one}, {two}")
    assert settings.flask()["SECRET_KEY_FALLBACKS"] == (one, two)
    assert load_in(tmp_path, **PRODUCTION).secret_key_fallbacks == ()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("SECRET_KEY_FALLBACKS", PRODUCTION["SECRET_KEY"][::-1]),
        ("CREDENTIALS_KEYS", FERNET_KEY),
        ("AUDIT_KEYS", PRODUCTION["AUDIT_KEYS"]),
    ],
)
def test_a_comma_too_many_adds_no_key(tmp_path: Path, name: str, key: str) -> None:
    settings = load_in(tmp_path, **PRODUCTION | {name: f",{key}, ,"})
    assert getattr(settings, name.lower()) == (key,)


def test_production_refuses_a_weak_earlier_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SECRET_KEY_FALLBACKS can be guessed"):
        load_in(tmp_path, **PRODUCTION, SECRET_KEY_FALLBACKS="old")


def test_development_keeps_the_secrets_it_makes(tmp_path: Path) -> None:
    first, second = load_in(tmp_path), load_in(tmp_path)
    assert first == second
    assert len(first.secret_key) >= 32
    Fernet(first.credentials_keys[0])
    for name in ("secret_key", "credentials_keys"):
        assert stat.S_IMODE((tmp_path / "instance" / name).stat().st_mode) == 0o600


def test_two_that_start_together_have_the_same_secrets(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_in(tmp_path), range(32)))
    assert len({settings.secret_key for settings in found}) == 1
    assert len({settings.credentials_keys for settings in found}) == 1


def test_an_emptied_secret_is_not_replaced(tmp_path: Path) -> None:
    load_in(tmp_path)
    (tmp_path / "instance" / "credentials_keys").write_text("")
    with pytest.raises(ConfigError, match="credentials_keys is empty"):
        load_in(tmp_path)


def test_a_secret_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    newest = Fernet.generate_key().decode()
    file.write_text(f"{newest}, {FERNET_KEY}\n")
    settings = load_in(tmp_path, CREDENTIALS_KEYS_FILE=str(file))
    assert settings.credentials_keys == (newest, FERNET_KEY)


def test_a_secret_cannot_stand_in_two_places(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SECRET_KEY or SECRET_KEY_FILE"):
        load_in(tmp_path, SECRET_KEY="x", SECRET_KEY_FILE="/nowhere")


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may enter every folder
    with pytest.raises(ConfigError, match="INSTANCE_DIR cannot be") as it:
        load_in(tmp_path)
    assert "this user may not read and write there" in str(it.value)


def test_what_the_demo_wrote_down_and_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "instance" / SIMULATOR_NOTE).mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"{SIMULATOR_NOTE} cannot be read"):
        load_in(tmp_path)


def test_a_secret_file_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="/nowhere"):
        load_in(tmp_path, SECRET_KEY_FILE="/nowhere")


def test_settings_never_show_secrets(tmp_path: Path) -> None:
    settings = load_in(tmp_path, **PRODUCTION, DATABASE_URL="postgresql://u:hidden@/clinics")
    shown = repr(settings)
    for secret in (PRODUCTION["SECRET_KEY"], FERNET_KEY, "hidden"):
        assert secret not in shown


def test_flask_learns_what_it_needs(tmp_path: Path) -> None:
    config = load_in(tmp_path, **PRODUCTION).flask()
    assert config["ENV"] == "production"
    assert config["DEMO"] is False
    assert config["CREDENTIALS_KEYS"] == (FERNET_KEY,)
    assert config["MAX_CONTENT_LENGTH"] == 1024 * 1024
    assert config["SESSION_COOKIE_SECURE"] is True
    assert config["SESSION_COOKIE_NAME"] == "__Host-session"


def test_cookies_work_without_https_in_development(tmp_path: Path) -> None:
    config = load_in(tmp_path).flask()
    assert config["SESSION_COOKIE_SECURE"] is False
    assert config["SESSION_COOKIE_NAME"] == "session"
    assert config["SESSION_COOKIE_HTTPONLY"] is True
    assert config["SESSION_COOKIE_SAMESITE"] == "Lax"


OPEN_DOORS = [
    # S44: what production refuses, and a word of the sentence that says so.
    ({"FLASK_DEBUG": "1"}, "FLASK_DEBUG"),
    ({"FLASK_DEBUG": "true"}, "FLASK_DEBUG"),
    ({"SECRET_KEY": "dev"}, "SECRET_KEY can be guessed"),
    ({"SECRET_KEY_FALLBACKS": "the-secret-key-of-the-year-before-last"}, "FALLBACKS can be"),
    ({"METRICS_TOKEN": "metrics"}, "METRICS_TOKEN can be guessed"),
    ({"CREDENTIALS_KEYS": "A" * 43 + "="}, "Key 1 of CREDENTIALS_KEYS can be guessed"),
    ({"CREDENTIALS_KEYS": f"{FERNET_KEY},dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk="}, "Key 2"),
    ({"CLINIKO_API_URL": "http://api.cliniko.com/v1"}, "https://"),
    ({"CLINIKO_CONTACT_EMAIL": ""}, "CLINIKO_CONTACT_EMAIL is missing"),
    ({"DEMO": "1"}, "DEMO=1"),
    ({"REDIS_URL": "redis://cache:6379/0"}, "REDIS_URL needs a password: cache"),
    ({"REDIS_URL": "rediss://10.0.0.7:6379/0"}, "REDIS_URL needs a password"),
    ({"REDIS_URL": "redis://:hidden@cache:6379/0"}, "REDIS_URL must begin with rediss://"),
    ({"REDIS_URL": "rediss://:hidden@cache/0?ssl_cert_reqs=none"}, "REDIS_URL must begin"),
    ({"REDIS_URL": "rediss://:hidden@cache/0?ssl_check_hostname=false"}, "REDIS_URL must begin"),
    ({"REDIS_URL": "rediss://:hidden@[cache/0"}, "REDIS_URL is no address"),
    ({"DATABASE_URL": "postgresql://u@db/clinics?sslmode=verify-full"}, "needs a password: db"),
    ({"DATABASE_URL": "postgresql://u:hidden@db/clinics"}, "sslmode=verify-full"),
    ({"DATABASE_URL": "postgresql://u:hidden@db/clinics?sslmode=prefer"}, "sslmode=verify-full"),
    ({"DATABASE_URL": "postgresql://u:hidden@db/clinics?sslmode=require"}, "sslmode=verify-full"),
    ({"DATABASE_URL": "postgresql://u:hidden@/clinics?host=/run,10.0.0.7"}, "10.0.0.7 is another"),
    ({"DATABASE_URL": "postgresql://u:hidden@localhost/c?hostaddr=203.0.113.9"}, "203.0.113.9 is"),
    ({"DATABASE_URL": "postgresql://u:hidden@/clinics?service=main"}, "DATABASE_URL is no address"),
]


@pytest.mark.parametrize(("environ", "words"), OPEN_DOORS)
def test_production_refuses_what_is_not_safe(
    tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_in(tmp_path, **(PRODUCTION | environ))
    sentence = str(refused.value)
    assert words in sentence
    assert "\n" not in sentence
    assert "hidden" not in sentence


@pytest.mark.parametrize(
    "environ",
    [
        {"FLASK_DEBUG": "0"},
        {"REDIS_URL": "redis://localhost:6379/0"},
        {"REDIS_URL": "redis://127.0.0.1/0"},
        {"REDIS_URL": "redis://[::1]:6379"},
        {"REDIS_URL": "unix:///run/redis.sock"},
        {"REDIS_URL": "rediss://:pw@cache:6379/0"},
        {"DATABASE_URL": "postgresql://u@localhost/clinics"},
        {"DATABASE_URL": "postgresql:///clinics?host=/run/postgresql"},
        {"DATABASE_URL": "postgresql://u:pw@db/clinics?sslmode=verify-ca"},
        {"DATABASE_URL": "postgresql://u@db/clinics?sslmode=verify-full&password=pw"},
        {"DATABASE_URL": "sqlite:////var/lib/patients.db"},
        {"DATABASE_URL": "sqlite:////var/lib/at@home.db"},
        {"DATABASE_URL": "postgresql://u@[::1]:5432/clinics"},
        {"DATABASE_URL": "postgresql://u:pw@DB_1,db-2/c?sslmode=verify-full"},
        {"REDIS_URL": "unix:///run/at@home.sock?password=p@ss"},
        {"REDIS_URL": "rediss://:pw@My_Cache"},
    ],
)
def test_production_takes_what_is_safe(tmp_path: Path, environ: dict[str, str]) -> None:
    load_in(tmp_path, **(PRODUCTION | environ))


@pytest.mark.parametrize(
    "environ", [each for each, _ in OPEN_DOORS[::7]], ids=lambda environ: next(iter(environ))
)
def test_a_process_with_bad_settings_ends_with_one_sentence(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    settings = os.environ | PRODUCTION | {"INSTANCE_DIR": str(tmp_path)} | environ
    worker = subprocess.run(
        [sys.executable, "worker.py"],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert worker.returncode == 2
    assert len(worker.stderr.splitlines()) == 1
    assert "Traceback" not in worker.stderr
    assert worker.stdout == ""
