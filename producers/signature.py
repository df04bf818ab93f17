"""HMAC signatures over the raw request body: Standard Webhooks, and ``X-Signature-256``.

Sources: the Standard Webhooks specification (standardwebhooks.com, "Verifying signatures"), and GitHub's scheme of
``sha256=<hex>``. Only a signature with a timestamp is protected against repeats: those of Standard Webhooks have one;
with ``X-Signature-Timestamp``, ``X-Signature-256`` is made over ``<timestamp>.<body>``, as Slack and Stripe do.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

# The specification's tolerance: enough for clocks that differ and queues that wait, too short to use a stolen request.
TOLERANCE_SECONDS: Final = 300

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix is public, what follows is secret
_ID: Final = b"webhook-id"
_TIMESTAMP: Final = b"webhook-timestamp"
_SIGNATURE: Final = b"webhook-signature"
_SIGNATURE_256: Final = b"x-signature-256"
_TIMESTAMP_256: Final = b"x-signature-timestamp"

# All that takes part in a signature; none of it is secret.
HEADERS: Final = (_ID, _TIMESTAMP, _SIGNATURE, _SIGNATURE_256, _TIMESTAMP_256)


def keys_of(secret: str) -> tuple[bytes, ...]:
    """Return each key that senders make from ``secret``.

    Libraries of Standard Webhooks decode it as base64 (with or without ``whsec_``), most others use its characters.
    """
    keys = [secret.encode()]
    with contextlib.suppress(binascii.Error, ValueError):
        keys.append(base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True))
    return tuple(key for key in keys if key)


def signed(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the request carries a signature at all. Header names are in lower case."""
    return _SIGNATURE in headers or _SIGNATURE_256 in headers


def valid(headers: Mapping[bytes, bytes], body: bytes, keys: Iterable[bytes], *, now_seconds: float) -> bool:
    """Whether a signature in ``headers`` was made over exactly ``body`` with one of ``keys``, and recently.

    Every comparison takes constant time.
    """
    return any(
        _standard(headers, body, key, now_seconds=now_seconds)
        or _signature_256(headers, body, key, now_seconds=now_seconds)
        for key in keys
    )


def _standard(headers: Mapping[bytes, bytes], body: bytes, key: bytes, *, now_seconds: float) -> bool:
    message_id, timestamp, given = headers.get(_ID), headers.get(_TIMESTAMP), headers.get(_SIGNATURE)
    if not message_id or not timestamp or not given or not _recent(timestamp, now_seconds):
        return False
    digest = hmac.digest(key, b".".join((message_id, timestamp, body)), hashlib.sha256)
    expected = b"v1," + base64.b64encode(digest)
    return any(hmac.compare_digest(expected, one) for one in given.split())


def _signature_256(headers: Mapping[bytes, bytes], body: bytes, key: bytes, *, now_seconds: float) -> bool:
    given, timestamp = headers.get(_SIGNATURE_256), headers.get(_TIMESTAMP_256)
    if given is None or (timestamp is not None and not _recent(timestamp, now_seconds)):
        return False
    content = body if timestamp is None else timestamp + b"." + body
    expected = b"sha256=" + hmac.digest(key, content, hashlib.sha256).hex().encode()
    return hmac.compare_digest(expected, given.strip().lower())


def _recent(timestamp: bytes, now_seconds: float) -> bool:
    return (
        timestamp.isdigit()
        and len(timestamp) <= len("4102444800")  # the year 2100 in seconds
        and abs(now_seconds - int(timestamp)) <= TOLERANCE_SECONDS
    )
