"""HMAC signatures over the raw request body: Standard Webhooks, and ``X-Signature-256``.

Sources: the Standard Webhooks specification (standardwebhooks.com, "Verifying signatures"); for ``X-Signature-256``
GitHub's ``sha256=<hex>``, made over ``<timestamp>.<body>`` as Slack and Stripe do. Both need a timestamp, because a
signature without one can be repeated for ever.

A webhook accepts one scheme. Both use the same key, so with two at once a signature of the one could be shown as the
other's, with its timestamp moved into the body.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from schemas.identity import event_id_for

# The specification's tolerance: enough for clocks that differ and queues that wait, too short to use a stolen request.
TOLERANCE_SECONDS: Final = 300
# A sender shows one signature for each of its keys, of which it has two while they are rotated.
_MOST_SIGNATURES: Final = 16

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix is public, what follows is secret
_ID: Final = b"webhook-id"
_TIMESTAMP: Final = b"webhook-timestamp"
_SIGNATURE: Final = b"webhook-signature"
_SIGNATURE_256: Final = b"x-signature-256"
_TIMESTAMP_256: Final = b"x-signature-timestamp"

# All that takes part in a signature; none of it is secret.
HEADERS: Final = (_ID, _TIMESTAMP, _SIGNATURE, _SIGNATURE_256, _TIMESTAMP_256)

# Which header carries a scheme's signature. The scheme ``none`` has none: such a webhook accepts only its secret.
_SIGNED_BY: Final[Mapping[str, bytes]] = {"standard": _SIGNATURE, "x-signature-256": _SIGNATURE_256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A valid signature. ``key`` is the sender's name of the delivery where the scheme signs one; ``digest`` is hex."""

    key: str | None
    digest: str

    def event_ids(self, webhook_id: str) -> Iterator[str]:
        """Yield ids for events that name none of their own: the same when the same signed request comes again."""
        return (event_id_for(webhook_id, f"signature:{self.digest}#{number}") for number in count())

    def letter_id(self, webhook_id: str) -> uuid.UUID:
        """Return the id of the dead letter that the body becomes where a part of it cannot be used."""
        return uuid.UUID(event_id_for(webhook_id, f"signature:{self.digest}"))


def keys_of(secret: str) -> tuple[bytes, ...]:
    """Return each key that senders make from ``secret``.

    Libraries of Standard Webhooks decode it as base64 (with or without ``whsec_``), most others use its characters.
    """
    keys = [secret.encode()]
    with contextlib.suppress(binascii.Error, ValueError):
        keys.append(base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True))
    return tuple(key for key in keys if key)


def signed(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the request carries a signature of any scheme. Header names are in lower case."""
    return any(header in headers for header in _SIGNED_BY.values())


def signed_as(scheme: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the request carries a signature of ``scheme``."""
    return _SIGNED_BY.get(scheme) in headers


def verified(
    scheme: str, headers: Mapping[bytes, bytes], body: bytes, keys: Iterable[bytes], *, now_seconds: float
) -> Verified | None:
    """Return the signature of ``scheme`` in ``headers`` if it was made over exactly ``body`` with one of ``keys``.

    ``None``: it was not, or more than :data:`TOLERANCE_SECONDS` ago. Every comparison takes constant time.
    """
    match scheme:
        case "standard":
            return _standard(headers, body, keys, now_seconds=now_seconds)
        case "x-signature-256":
            return _signature_256(headers, body, keys, now_seconds=now_seconds)
        case _:
            return None


def _standard(
    headers: Mapping[bytes, bytes], body: bytes, keys: Iterable[bytes], *, now_seconds: float
) -> Verified | None:
    message_id, timestamp, given = headers.get(_ID), headers.get(_TIMESTAMP), headers.get(_SIGNATURE)
    # An id with a full stop in it could take over a part of another request's id and time (specification, "Signature
    # scheme": the parts are joined by full stops).
    if not message_id or b"." in message_id or not timestamp or not given or not _recent(timestamp, now_seconds):
        return None
    shown = given.split()[:_MOST_SIGNATURES]
    for key in keys:
        digest = hmac.digest(key, b".".join((message_id, timestamp, body)), hashlib.sha256)
        expected = b"v1," + base64.b64encode(digest)
        matches = [hmac.compare_digest(expected, one) for one in shown]  # all of them: the time tells nothing
        if any(matches):
            return Verified(key=message_id.decode("latin-1"), digest=digest.hex())
    return None


def _signature_256(
    headers: Mapping[bytes, bytes], body: bytes, keys: Iterable[bytes], *, now_seconds: float
) -> Verified | None:
    given, timestamp = headers.get(_SIGNATURE_256), headers.get(_TIMESTAMP_256)
    if not given or not timestamp or not _recent(timestamp, now_seconds):
        return None
    for key in keys:
        digest = hmac.digest(key, timestamp + b"." + body, hashlib.sha256).hex()
        if hmac.compare_digest(f"sha256={digest}".encode(), given.strip().lower()):
            return Verified(key=None, digest=digest)
    return None


def _recent(timestamp: bytes, now_seconds: float) -> bool:
    return (
        timestamp.isdigit()
        and len(timestamp) <= len("4102444800")  # the year 2100 in seconds
        and abs(now_seconds - int(timestamp)) <= TOLERANCE_SECONDS
    )
