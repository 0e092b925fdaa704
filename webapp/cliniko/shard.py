"""From an API key to the host that may see it. The key decides a host name: a loose check here
would send credentials to a stranger."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from webapp.cliniko.errors import InvalidKey

DEFAULT_SHARD = "au1"  # of keys from before there were shards
MAX_KEY_LENGTH = 500

# Shards are added without notice, so the form is checked and not a list.
_SHARD = re.compile(r"[a-z]{2}[0-9]{1,2}", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_HOST = re.compile(r"api\.[a-z]{2}[0-9]{1,2}\.cliniko\.com", re.ASCII)


def shard_of(api_key: str) -> str:
    """The shard of a key: what stands behind its last hyphen, `au1` without one.

    Raises InvalidKey for anything else in that place, and for keys that are empty, too long, or
    hold characters that do not belong into a header.
    """
    if not api_key or len(api_key) > MAX_KEY_LENGTH:
        raise InvalidKey(f"A Cliniko API key has 1 to {MAX_KEY_LENGTH} characters.")
    if not all("!" <= character <= "~" for character in api_key):
        raise InvalidKey("A Cliniko API key has no spaces and no special characters.")
    name, hyphen, shard = api_key.rpartition("-")
    if not hyphen:
        return DEFAULT_SHARD
    if not name or not _SHARD.fullmatch(shard):
        raise InvalidKey(
            "A Cliniko API key ends with a hyphen and its region, as in -au2. Copy the whole key."
        )
    return shard


def without_shard(api_key: str) -> str:
    """What stands before the last hyphen of a key; the whole key without one."""
    return api_key.rpartition("-")[0] or api_key


def is_subdomain(text: str) -> bool:
    """Whether this can be the name under which an account's people reach Cliniko."""
    return _SUBDOMAIN.fullmatch(text) is not None


def patient_page(subdomain: str, shard: str, cliniko_patient_id: str) -> str:
    """The address at which Cliniko shows a patient to the people of an account.

    Seen in use: https://SUBDOMAIN.SHARD.cliniko.com/patients/ID.
    """
    return f"https://{subdomain}.{shard}.cliniko.com/patients/{cliniko_patient_id}"


def base_url(api_key: str, api_url: str) -> str:
    """The base address for a key, without a slash at the end. Raises InvalidKey.

    An address without `{shard}` in it is another service that speaks for Cliniko; it is used as it
    is.
    """
    url = api_url.replace("{shard}", shard_of(api_key)).rstrip("/")
    if "{shard}" in api_url:
        parts = urlsplit(url)
        if parts.scheme != "https" or not _HOST.fullmatch(parts.netloc):
            raise InvalidKey("This key does not lead to a host of Cliniko.")
    return url
