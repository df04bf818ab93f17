"""Whose request it is, as far as it can be told."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from producers.clients import client_of
from runtime.sections import WebhookSettings

TRUSTED = tuple(ip_network(one) for one in ("127.0.0.0/8", "10.0.0.0/8", "::1/128", "198.51.100.7/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", None, "203.0.113.5"),
        ("203.0.113.5", b"192.0.2.1", "203.0.113.5"),  # whoever is no proxy of ours may write what he likes
        ("127.0.0.1", b"203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", b"192.0.2.1, 203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", b"192.0.2.1, 203.0.113.5 ,10.0.0.9", "203.0.113.5"),
        ("198.51.100.7", b"203.0.113.5:4711", "203.0.113.5"),
        ("::ffff:10.0.0.1", b"[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        ("127.0.0.1", b"2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("127.0.0.1", None, None),
        ("127.0.0.1", b"", None),
        ("127.0.0.1", b"10.0.0.1, 10.0.0.2", None),
        ("127.0.0.1", b"203.0.113.5, unknown", None),
        ("127.0.0.1", b"203.0.113.5," + b"10.0.0.1," * 10_000 + b"10.0.0.1", None),
        ("127.0.0.1", b"," * 60_000, None),
        (None, b"203.0.113.5", None),
        ("unix", b"203.0.113.5", None),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy_of_ours(
    peer: str | None, forwarded: bytes | None, client: str | None
) -> None:
    assert client_of(peer, forwarded, TRUSTED) == client


def test_a_proxy_on_a_private_network_is_trusted_unless_said_otherwise() -> None:
    usual = WebhookSettings.model_validate({"GOALPOST_SESSIONS_WRITE_KEY": "k"})
    assert client_of("172.18.0.1", b"203.0.113.5", usual.trusted_proxies) == "203.0.113.5"
    named = {"GOALPOST_SESSIONS_WRITE_KEY": "k", "GOALPOST_TRUSTED_PROXIES": "198.51.100.0/24, 2001:db8::/32"}
    assert (
        client_of("172.18.0.1", b"203.0.113.5", WebhookSettings.model_validate(named).trusted_proxies) == "172.18.0.1"
    )
