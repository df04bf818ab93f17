"""Which webhook a request speaks for, and what it is told where it may not speak for any.

Pure. A signature, and a secret within the body, are looked for in all of the body: not for the event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from producers.authentication import Denied, Proof, entry_by_secret, hashes_of, proof_by_id, shown_hashes
from producers.dialects import DIALECTS
from producers.directory import Entry, Index
from producers.exchange import Answer, refusal
from producers.request import Request
from producers.signature import Verified
from schemas.events import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A request that may not speak for the webhook that it means, and the hashes of the secrets that it shows."""

    denied: Denied
    meant: Webhook | None
    hashes: list[str]


def authenticated(
    index: Index, request: Request, webhook_id: str | None, tokens: Sequence[str], now_seconds: float
) -> tuple[Webhook, Proof | Verified] | Stranger:
    """Return the webhook that a request may speak for, and by what; ``webhook_id`` and ``tokens`` are from its path."""
    hashes = shown_hashes(request.headers, request.secrets(tokens))
    if webhook_id is None:
        named = entry_by_secret(index, hashes)
        if isinstance(named, Entry):
            return named.webhook, Proof.SECRET
        return Stranger(denied=named, meant=None, hashes=hashes)
    entry = index.by_id.get(webhook_id)
    if entry is None:
        return Stranger(denied=Denied.UNKNOWN_WEBHOOK, meant=None, hashes=hashes)
    bodies = (request.body,) if request.body is request.sent else (request.sent, request.body)
    found = proof_by_id(entry, hashes, request.headers, bodies, now_seconds=now_seconds)
    if isinstance(found, Denied) and (in_body := _hashes_in_body(request, entry.webhook)):
        hashes += in_body
        found = proof_by_id(entry, hashes, request.headers, bodies, now_seconds=now_seconds)
    if isinstance(found, Denied):
        return Stranger(denied=found, meant=entry.webhook, hashes=hashes)
    return entry.webhook, found


def _hashes_in_body(request: Request, webhook: Webhook) -> list[str]:
    dialect = DIALECTS.get(webhook.dialect)
    if dialect is None or dialect.secrets is None:
        return []
    return hashes_of([secret.encode() for secret in dialect.secrets(request.body, request.content_type)])


def denial(stranger: Stranger) -> Answer:
    """Return what a stranger is answered."""
    challenge = ((b"www-authenticate", b"Bearer"),)
    match stranger.denied:
        case Denied.UNKNOWN_WEBHOOK:
            return refusal(404, "there is no such webhook; copy its address from `goalpost admin webhook list`")
        case Denied.ABSENT:
            remedy = "send it as Authorization: Bearer, as X-Webhook-Secret, or sign the request"
            return refusal(401, f"the webhook's secret is missing; {remedy}", headers=challenge)
        case Denied.WRONG:
            remedy = "compare it with the one that was shown when the webhook was made, and check the sender's clock"
            return refusal(401, f"the secret or signature is wrong or too old; {remedy}", headers=challenge)
        case Denied.OTHER_SCHEME:
            scheme = "none" if stranger.meant is None else stranger.meant.signature
            remedy = "sign so, or change it with `goalpost admin webhook change --signature`"
            return refusal(401, f"this webhook's signature scheme is {scheme}; {remedy}", headers=challenge)
        case Denied.SHARED:
            remedy = "send to /hooks/{webhook_id}"
            return refusal(401, f"several webhooks have this secret; {remedy}", headers=challenge)
        case _:
            assert_never(stranger.denied)
