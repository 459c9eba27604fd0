"""Whose address counts behind proxies."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import make_mocked_request

from hub.api.callers import caller_address
from hub.settings import Settings

PROXIES = Settings(trusted_proxies="10.0.0.0/8,fd00::/8").trusted_proxies


@pytest.mark.threat("T25")
@pytest.mark.parametrize(
    ("remote", "said", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # not a proxy of ours: its word counts for nothing
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # what stands further left is the caller's word
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("fd00::1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_the_nearest_address_that_is_no_proxy(remote: str, said: list[str], address: str) -> None:
    transport = asyncio.Transport({"peername": (remote, 1) if remote else None})
    headers = [("X-Forwarded-For", text) for text in said]
    request = make_mocked_request("GET", "/", headers=headers, transport=transport)

    assert caller_address(request, PROXIES) == address
