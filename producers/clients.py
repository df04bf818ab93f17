"""Whose request it is: the address of the client, also behind proxies that say whose request they pass on. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Chains of proxies are short; what stands further to the left anybody may have written.
_MOST_PROXIES: Final = 16
# An IPv6 client has a whole network of this size to itself (RFC 6177), and may use another address for each request.
_IPV6_PREFIX: Final = 64


def client_of(peer: str | None, forwarded_for: bytes | None, trusted: Sequence[Network]) -> str | None:
    """Return the client's address, an IPv6 one as its /64 network; ``None`` where it cannot be told.

    ``peer`` is who has connected. If that is a proxy that is ``trusted``, the client is the last in ``X-Forwarded-For``
    that is no such proxy. A trusted proxy that does not tell is no client: everybody's requests come from there.
    """
    if peer is None or (address := _parsed(peer)) is None:
        return None
    named = (forwarded_for or b"").rsplit(b",", _MOST_PROXIES)[-_MOST_PROXIES:]
    while _is_trusted(address, trusted):
        if not named or (address := _parsed(named.pop().decode("latin-1"))) is None:
            return None
    return _shared(address)


def _parsed(written: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(_without_port(written.strip()[:64]))
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def _without_port(written: str) -> str:
    """Take off a port, which some proxies write: ``203.0.113.7:4711``, ``[2001:db8::1]:4711``."""
    if written.startswith("["):
        return written[1:].partition("]")[0]
    return written.partition(":")[0] if written.count(":") == 1 else written


def _is_trusted(address: _Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _shared(address: _Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((address.packed, _IPV6_PREFIX), strict=False))
