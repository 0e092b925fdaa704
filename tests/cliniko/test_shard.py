"""The key decides which host sees it, so only keys of Cliniko's form lead anywhere."""

from __future__ import annotations

import pytest

from config import CLINIKO_API_URL
from webapp.cliniko.errors import InvalidKey
from webapp.cliniko.shard import base_url, shard_of

NAME = "MS0xLWludmVudGVk"

HOSTILE_ENDS = [
    "-evil.com/",
    "-x@evil.com/",
    "-au1.evil.com",
    "-evil.com#",
    "-evil.com?",
    "-evil.com/au1",
    "-au1@evil.com:443/",
    "-au1\n",
    "-au1\r\n",
    "-au1\r\nX-Injected: 1",
    "-au1 ",
    "-AU1",
    "-Au1",
    "-au\u0661",  # an Arabic digit
    "-\uff41\uff551",  # letters of full width
    "-au\u00b9",  # a superscript digit
    "-a\u017f1",  # a long s
    "-au001",
    "-au",
    "-a1",
    "-aus1",
    "-1au",
    "-",
    "-au1-",
    "-au1/",
    "-au1:443",
    "-au1.",
    "-{shard}",
    "-..",
]


@pytest.mark.parametrize(
    ("key", "shard"),
    [
        (f"{NAME}-au1", "au1"),
        (f"{NAME}-au5", "au5"),
        (f"{NAME}-uk2", "uk2"),
        (f"{NAME}-eu12", "eu12"),
        (f"{NAME}-with-hyphens-ca1", "ca1"),
        (f"{NAME}--us1", "us1"),
        (NAME, "au1"),
    ],
)
def test_the_shard_stands_behind_the_last_hyphen(key: str, shard: str) -> None:
    assert shard_of(key) == shard
    assert base_url(key, CLINIKO_API_URL) == f"https://api.{shard}.cliniko.com/v1"


@pytest.mark.parametrize("end", HOSTILE_ENDS)
def test_anything_else_in_its_place_is_refused(end: str) -> None:
    with pytest.raises(InvalidKey) as refusal:
        base_url(NAME + end, CLINIKO_API_URL)
    assert NAME not in str(refusal.value)


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        "-au1",
        "\n",
        f"{NAME}\r\nHost: evil.example-au1",
        f"\x00{NAME}-au1",
        f"{NAME}\x7f-au1",
        f"{NAME}\t-au1",
        f"{NAME} -au1",
        f"{NAME}\u00e9-au1",
        f"{NAME}\u2028-au1",
        f"{NAME}\udcff-au1",
        "k" * 497 + "-au1",
    ],
)
def test_a_key_of_impossible_form_is_refused(key: str) -> None:
    with pytest.raises(InvalidKey):
        shard_of(key)


def test_the_longest_key_is_accepted() -> None:
    assert shard_of("k" * 496 + "-au1") == "au1"


@pytest.mark.parametrize(
    "api_url", ["http://127.0.0.1:9999/v1", "http://127.0.0.1:9999/v1/", "https://cliniko.test/v1"]
)
def test_an_address_without_a_place_for_the_shard_is_used_as_it_is(api_url: str) -> None:
    assert base_url(f"{NAME}-uk1", api_url) == api_url.rstrip("/")


@pytest.mark.parametrize("api_url", ["http://127.0.0.1:9999/v1", "https://api.{shard}.cliniko.com"])
def test_an_impossible_key_is_refused_wherever_it_would_go(api_url: str) -> None:
    with pytest.raises(InvalidKey):
        base_url(f"{NAME}-evil.com/", api_url)


@pytest.mark.parametrize(
    "api_url",
    [
        "https://api.{shard}.cliniko.com.evil.example/v1",
        "https://{shard}.evil.example/v1",
        "https://user@api.{shard}.cliniko.com/v1",
        "https://api.{shard}.cliniko.com:8443/v1",
        "http://api.{shard}.cliniko.com/v1",
        "https://evil.example/{shard}",
        "https://api.{shard}.cliniko.com\\@evil.example/v1",
    ],
)
def test_a_place_for_the_shard_makes_it_a_host_of_cliniko_or_nothing(api_url: str) -> None:
    with pytest.raises(InvalidKey):
        base_url(f"{NAME}-au1", api_url)
