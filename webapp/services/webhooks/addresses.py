"""Which addresses a webhook may have: public ones, written plainly.

A form is checked when somebody saves it; where its name leads is looked up and checked anew for
each call.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import zip_longest
from urllib.parse import SplitResult, urlsplit

import idna
from flask import current_app

from webapp.errors import ValidationError

LONGEST = 2_048
LONGEST_NAME = 253

Ip = IPv4Address | IPv6Address

# Names that never belong to somebody on the Internet (RFC 6761, 6762, 8375, and in common use).
_OWN_NETWORK = (
    *("localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home"),
    *("lan", "home.arpa", "invalid", "onion"),
)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
# The last part tells whether browsers and libraries would take the whole for an IP address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_GLOBAL_IPV6 = ip_network("2000::/3")
# What Python takes for public, and is not: ways to IPv4 addresses, and what serves protocols.
_NOT_PUBLIC = tuple(
    map(
        ip_network,
        ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20"),
    )
)


class NotPublic(Exception):
    """The name leads into a network that nobody outside should reach through us."""


def checked(address: str) -> str:
    """An address in the form in which it is stored and called: its name in ASCII, and no port that
    goes without saying.

    Raises ValidationError for one that is not https on an allowed port of a name, or that readers
    could understand in two ways.
    """
    address = address.strip()
    _check_length(address)
    # A parser may drop these, take them for others, or see the name end there.
    if not address.isprintable() or re.search(r"[\s\\^`{|}<>\"\[\]]", address):
        raise _refused("An address holds no blanks, quotes, brackets or backslashes.")
    try:
        parts = urlsplit(address)
        port = parts.port
        plain_name = _in_ascii(parts.hostname or "")
    except (ValueError, UnicodeError):
        raise _refused("This is no address, as https://example.com/patients.") from None
    if "@" in parts.netloc:
        raise _refused("An address holds no user name or password: messages are signed instead.")
    if "#" in address:
        raise _refused("An address has no part behind #: it would not be sent.")
    _check_name(plain_name)
    _check_way(parts, plain_name, port)
    plain = _plain(parts, plain_name, port)
    _check_length(plain)  # a / at its end and a name in ASCII make it longer
    return plain


def is_allowed_inside(name: str) -> bool:
    """Whether whoever runs Patient Sync has said that this name may be in their own network."""
    return name in current_app.config["WEBHOOK_ALLOWED_HOSTS"]


def where_it_leads(name: str) -> list[Ip]:
    """All that a name leads to, in the order in which to try it.

    Raises NotPublic unless every one of them is on the Internet or the name is allowed inside;
    OSError if it leads nowhere.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    ips = dict.fromkeys(ip_address(place[0]) for *_, place in found)
    if not is_allowed_inside(name) and not all(map(is_public, ips)):
        raise NotPublic(name)
    return _by_turns(ips)


def is_public(ip: Ip) -> bool:
    """Whether an address belongs to the Internet, and to no way back into a network of ours."""
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(ip.ipv4_mapped)
        if ip not in _GLOBAL_IPV6:
            return False
    inside = any(ip.version == net.version and ip in net for net in _NOT_PUBLIC)
    return ip.is_global and not ip.is_multicast and not inside


def _by_turns(ips: Iterable[Ip]) -> list[Ip]:
    """One of each family after the other, beginning with the one that was named first (RFC 8305):
    often it is a whole family that does not get through."""
    families: dict[int, list[Ip]] = {}
    for ip in ips:
        families.setdefault(ip.version, []).append(ip)
    rounds = zip_longest(*families.values())
    return [ip for each in rounds for ip in each if ip is not None]


def _in_ascii(name: str) -> str:
    """The name as DNS knows it; letters that only look different become the ones they stand for."""
    if name.isascii():
        return name.lower().removesuffix(".")
    return idna.encode(name, uts46=True, std3_rules=True).decode().lower().removesuffix(".")


def _check_length(address: str) -> None:
    if not 0 < len(address) <= LONGEST:
        raise _refused(f"An address has 1 to {LONGEST} characters.")


def _check_name(name: str) -> None:
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise _refused("The address names no server that could be looked up.")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise _refused("Give the server's name in place of its IP address.")
    if is_allowed_inside(name):
        return
    own = any(name == each or name.endswith(f".{each}") for each in _OWN_NETWORK)
    if own or "." not in name:
        raise _refused(
            "This name belongs to a network of one's own, which webhooks do not reach unless "
            "WEBHOOK_ALLOWED_HOSTS names it."
        )


def _check_way(parts: SplitResult, name: str, port: int | None) -> None:
    inside = is_allowed_inside(name)
    if parts.scheme != "https" and not (parts.scheme == "http" and inside):
        raise _refused("The address must begin with https://.")
    port, ports = 443 if port is None else port, current_app.config["WEBHOOK_PORTS"]
    if port not in ports and not inside:
        allowed = " or ".join(map(str, ports))
        raise _refused(f"The port must be {allowed}, not {port}.")


def _plain(parts: SplitResult, name: str, port: int | None) -> str:
    usual = 443 if parts.scheme == "https" else 80
    place = name if port in (None, usual) else f"{name}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    plain = f"{parts.scheme}://{place}{parts.path or '/'}{query}"
    if not plain.isascii():
        raise _refused("Write the part behind the name in ASCII, other letters as %C3%A4.")
    return plain


def _refused(why: str) -> ValidationError:
    return ValidationError(why, parameter="address")
