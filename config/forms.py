"""What a setting must look like, and how to say so."""

from __future__ import annotations

# What a password may hold that could be meant for another part of its address.
WRITTEN = (
    "%40 for @, %3A for :, %2F for /, %3F for ?, %23 for #, %5B for [, %5D for ] and %25 for %"
)
_WEB_ADDRESS = r"://(\{shard\}|[A-Za-z0-9.-])+(:[0-9]{1,5})?(/[^\s?#@]*)?"
HTTP_URL = ("https?" + _WEB_ADDRESS, "an address that begins with http:// or https://")
HTTPS_URL = ("https" + _WEB_ADDRESS, "an address that begins with https:// in production")
# Services that wait for calls tell their clients apart by a query, or by a name and a password.
CALLED_URL = (
    r"https?://([^\s/?#@:]+(:[^\s/?#@]*)?@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^\s?#]*)?(\?[^\s#]*)?",
    "an address that begins with http:// or https:// and has no # (a port is 65535 at most, and "
    "no part of the host empty or over 63 letters); in the name of a user and in a password, both "
    f"in Latin-1, write {WRITTEN}",
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
    "an address as smtp://user:password@host:587 or smtps://host (a port is 65535 at most, and "
    "no part of the host empty or over 63 letters); in the name of the user and in the password, "
    f"both in ASCII, write {WRITTEN}",
)
HTMX_ADDRESS = (
    r"(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?(/[A-Za-z0-9._~@-]+)+",
    "the address of htmx that begins with https://, or its path on this server",
)
