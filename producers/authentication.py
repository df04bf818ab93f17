"""Whether a request may speak for a webhook, and which webhook that is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from producers import signature
from producers.directory import Entry, Index

# Parameters of an address that hold a secret; they are used to authenticate and stored nowhere.
SECRET_PARAMETERS: Final = frozenset({"token", "secret", "key", "write_key"})

_BEARER: Final = b"bearer "


class Denied(Enum):
    """Why a request is not accepted: there is no such webhook, or the secret is absent, wrong or not unique."""

    UNKNOWN_WEBHOOK = "unknown"
    ABSENT = "absent"
    WRONG = "wrong"
    SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """What a request shows. ``headers`` have lower-case names; ``tokens`` come from its address."""

    headers: Mapping[bytes, bytes]
    body: bytes
    tokens: tuple[str, ...] = ()


def bearer(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the token of ``Authorization: Bearer``."""
    given = headers.get(b"authorization", b"")
    return given[len(_BEARER) :].strip() if given[: len(_BEARER)].lower() == _BEARER else None


def entry_by_id(index: Index, webhook_id: str, knock: Knock, *, now_seconds: float) -> Entry | Denied:
    """Return the webhook of ``/hooks/{webhook_id}`` when any one of the request's credentials is valid."""
    entry = index.by_id.get(webhook_id.lower())
    if entry is None:
        return Denied.UNKNOWN_WEBHOOK
    hashes = _presented(knock)
    if any(entry.has_secret(presented) for presented in hashes):
        return entry
    if not signature.signed(knock.headers):
        return Denied.WRONG if hashes else Denied.ABSENT
    authentic = signature.valid(knock.headers, knock.body, entry.signing_keys, now_seconds=now_seconds)
    return entry if authentic else Denied.WRONG


def entry_by_secret(index: Index, knock: Knock) -> Entry | Denied:
    """Return the webhook whose secret the request shows. A signature alone cannot find its webhook.

    The look-up is by SHA-256, whose timing tells nothing about the secret.
    """
    hashes = _presented(knock)
    found = next((index.by_secret_hash[presented] for presented in hashes if presented in index.by_secret_hash), ())
    if len(found) == 1:
        return found[0]
    if found:
        return Denied.SHARED
    return Denied.WRONG if hashes else Denied.ABSENT


def _presented(knock: Knock) -> list[str]:
    shown = [token.encode() for token in knock.tokens]
    for given in (knock.headers.get(b"x-webhook-secret"), bearer(knock.headers)):
        if given:
            shown.append(given.strip())
    return [hashlib.sha256(secret).hexdigest() for secret in shown]
