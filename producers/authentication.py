"""Whether a request may speak for a webhook, and which webhook that is."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from producers import signature
from producers.directory import Entry, Index

# Parameters of an address that hold a secret; they are used to authenticate and stored nowhere.
SECRET_PARAMETERS: Final = frozenset({"token", "secret", "key", "write_key"})

_BEARER: Final = b"bearer "
_BASIC: Final = b"basic "

Headers = Mapping[bytes, bytes]


class Proof(Enum):
    """How a request has shown that it may speak for a webhook, other than by a signature: it knows its secret."""

    SECRET = "shown"  # noqa: S105 - how it was proven, not what was shown


class Denied(Enum):
    """Why a request is not accepted.

    There is no such webhook; the secret is absent, wrong or not unique; or the signature is of a scheme that this
    webhook does not take.
    """

    UNKNOWN_WEBHOOK = "unknown"
    ABSENT = "absent"
    WRONG = "wrong"
    SHARED = "shared"
    OTHER_SCHEME = "other_scheme"


def bearer(headers: Headers) -> bytes | None:
    """Return the token of ``Authorization: Bearer``."""
    given = headers.get(b"authorization", b"")
    return given[len(_BEARER) :].strip() if given[: len(_BEARER)].lower() == _BEARER else None


def shown_hashes(headers: Headers, tokens: Sequence[str]) -> list[str]:
    """Return the SHA-256 of each secret that a request shows: in its address (``tokens``) and in its headers.

    With ``Authorization: Basic``, which Zapier and Make offer as credentials, the password is the secret.
    """
    shown = [token.encode() for token in tokens]
    if given := headers.get(b"x-webhook-secret"):
        shown.append(given.strip())
    if given := headers.get(b"authorization"):
        if token := bearer(headers):
            shown.append(token)
        elif password := _basic_password(given):
            shown.append(password)
    return hashes_of(shown)


def hashes_of(secrets: Sequence[bytes]) -> list[str]:
    """Return the SHA-256 of each secret, as the directory has them."""
    return [hashlib.sha256(secret).hexdigest() for secret in secrets]


def proof_by_id(
    entry: Entry, hashes: Sequence[str], headers: Headers, bodies: Sequence[bytes], *, now_seconds: float
) -> Proof | signature.Verified | Denied:
    """Return by what a request may speak for ``entry``'s webhook, or why it may not.

    ``bodies`` are the bytes that may have been signed. What a signature does not cover may not be believed of a request
    that shows nothing else: see :mod:`producers.signed`.
    """
    if any(entry.has_secret(shown) for shown in hashes):
        return Proof.SECRET
    if not signature.signed(headers):
        return Denied.WRONG if hashes else Denied.ABSENT
    scheme = entry.webhook.signature
    if not signature.signed_as(scheme, headers):
        return Denied.WRONG if hashes else Denied.OTHER_SCHEME
    for body in bodies:
        if found := signature.verified(scheme, headers, body, entry.signing_keys, now_seconds=now_seconds):
            return found
    return Denied.WRONG


def entry_by_secret(index: Index, hashes: Sequence[str]) -> Entry | Denied:
    """Return the webhook whose secret the request shows. A signature alone cannot find its webhook.

    The look-up is by SHA-256, whose timing tells nothing about the secret.
    """
    for shown in hashes:
        found = index.by_secret_hash.get(shown)
        if found is not None:
            return found[0] if len(found) == 1 else Denied.SHARED
    return Denied.WRONG if hashes else Denied.ABSENT


def _basic_password(authorization: bytes) -> bytes | None:
    if authorization[: len(_BASIC)].lower() != _BASIC:
        return None
    try:
        return base64.b64decode(authorization[len(_BASIC) :].strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return None
