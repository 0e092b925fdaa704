"""Which addresses a webhook may have, and where a name may lead."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from flask import Flask
from requests import Request

from webapp.errors import ValidationError
from webapp.services.webhooks import addresses

GOOD = {
    "https://example.com": "https://example.com/",
    " https://Example.COM:443/a?b=c ": "https://example.com/a?b=c",
    "HTTPS://example.com/A%20B": "https://example.com/A%20B",
    "https://example.com./hook": "https://example.com/hook",
    "https://hooks.example.com.au/services/T0/B0/x-y_z~": (
        "https://hooks.example.com.au/services/T0/B0/x-y_z~"
    ),
    "https://bücher.example.com/": "https://xn--bcher-kva.example.com/",
    "https://straße.example.com/": "https://xn--strae-oqa.example.com/",
    "https://example.com/@user": "https://example.com/@user",
    "https://1.example.com/": "https://1.example.com/",
    "https://a_b.example.com/": "https://a_b.example.com/",
    f"https://example.com?{'a' * 2_027}": f"https://example.com/?{'a' * 2_027}",
}

# Ways to reach what only we can reach, and forms that two readers could understand in two ways.
BAD = [
    "",
    " ",
    "example.com",
    "//example.com",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "https:///x",
    "https://",
    "https:example.com",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.1/",
    "https://0x7f000001/",
    "https://127.0.0.1./",
    "https://example.1/",
    "https://example.0x/",
    "https://[::1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00:ec2::254]/",
    "https://[2606:4700::1111]/",
    "https://[v1.x]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.100.100.200/",
    "https://100.64.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.0.1/",
    "https://8.8.8.8/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://printer/",
    "https://metadata.google.internal/",
    "https://router.home.arpa/",
    "https://nas.local/",
    "https://①②⑦.⓪.⓪.①/",
    "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "https://127。0。0。1/",
    "https://127\uff0e0\uff0e0\uff0e1/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "https://evil.com#@127.0.0.1/",
    "https://evil.com#",
    "https://127.0.0.1\\@evil.com/",
    "https://evil.com\\.example.com/",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://@example.com/",
    "https://evil.com:6379/",
    "https://evil.com:22/",
    "https://evil.com:0/",
    "https://evil.com:65536/",
    "https://evil.com:443x/",
    "https://evil.com:\uff14\uff14\uff13/",
    "https://evil.com:80/",
    "https://evil.com/a\r\nX-Injected: 1",
    "https://evil.com/a\nb",
    "https://evil.com/a\tb",
    "https://evil.com/a b",
    "https://evil.com/\0",
    "https://evil.com/\x7f",
    "https://evil.com/ä",
    "https://evil.com/\u202e",
    "https://evil..com/",
    "https://-evil.com/",
    "https://evil-.com/",
    "https://evil.com%00.example.com/",
    "https://evil%2ecom/",
    "https://ev il.com/",
    "https://" + "a" * 64 + ".com/",
    "https://" + ".".join(["abcdefgh"] * 29) + ".com/",
    "https://evil.com/" + "a" * 2_100,
    # What is stored and called is longer: it gets a /, or its name in ASCII.
    "https://example.com?" + "a" * (addresses.LONGEST - 20),
    "https://bücher.example.com/" + "a" * (addresses.LONGEST - 27),
]


@pytest.fixture
def app() -> Iterator[Flask]:
    """Only the settings of addresses are asked of it."""
    app = Flask(__name__)
    app.config.update(WEBHOOK_ALLOWED_HOSTS=(), WEBHOOK_PORTS=(443,))
    with app.app_context():
        yield app


@pytest.mark.parametrize(("given", "kept"), GOOD.items())
def test_a_public_address_is_kept_in_one_plain_form(app: Flask, given: str, kept: str) -> None:
    assert addresses.checked(given) == kept
    assert addresses.checked(kept) == kept
    assert Request("POST", kept).prepare().url == kept  # what is called is what was checked


@pytest.mark.parametrize("address", BAD)
def test_any_other_address_is_refused(app: Flask, address: str) -> None:
    with pytest.raises(ValidationError) as refused:
        addresses.checked(address)
    assert refused.value.parameter == "address"


def test_a_name_that_is_allowed_inside_may_be_called_in_any_way(app: Flask) -> None:
    app.config["WEBHOOK_ALLOWED_HOSTS"] = ["localhost", "crm.clinic.internal"]
    for address in ("http://localhost:8080/x", "https://crm.clinic.internal:9443/"):
        assert addresses.checked(address) == address
    for address in ("http://127.0.0.1:8080/", "http://x.localhost/", "ftp://localhost/"):
        with pytest.raises(ValidationError):
            addresses.checked(address)


def test_more_ports_can_be_allowed(app: Flask) -> None:
    app.config["WEBHOOK_PORTS"] = [443, 8443]
    assert addresses.checked("https://example.com:8443/") == "https://example.com:8443/"
    with pytest.raises(ValidationError, match="443 or 8443, not 9443"):
        addresses.checked("https://example.com:9443/")


@pytest.mark.parametrize("ip", ["8.8.8.8", "1.1.1.1", "203.0.114.1", "2606:4700::1111"])
def test_the_internet_is_public(ip: str) -> None:
    assert addresses.is_public(ip_address(ip))


@pytest.mark.parametrize(
    "ip",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1"),
        *("169.254.169.254", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
        *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"),
        *("240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1"),
        *("2001:0:7f00:1::", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1"),
        *("5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"),
    ],
)
def test_nothing_else_is(ip: str) -> None:
    assert not addresses.is_public(ip_address(ip))
