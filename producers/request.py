"""A request as the endpoints need it: read within limits, its content-coding undone, its address taken apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Receive, Scope

from producers.addresses import spellings
from producers.authentication import SECRET_PARAMETERS
from producers.codings import Undecoded, decoded
from producers.exchange import Answer, refusal, too_large
from producers.raw_events import TooManyParameters, parameters_of
from producers.worker import Worker
from schemas.construct import constructor

# What a Content-Type says stands in its first words; all of it is stored with each conversion of the body.
_CONTENT_TYPE_BYTES: Final = 1024
# A sender's name of a delivery makes the ids of its conversions, each of which has to read it.
_KEY_BYTES: Final = 1024
# As much as the whole head of a request may have: with one that comes in a single read, uvicorn does not look.
_QUERY_BYTES: Final = 64 * 1024

Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came. ``headers`` have lower-case names, ``sent`` is the body before its content-coding was undone.

    ``weight`` is how many bytes there are to be read. ``undecoded``: the coding could not be undone, and ``body`` is
    what was sent.
    """

    headers: dict[bytes, bytes]
    sent: bytes
    body: bytes
    parameters: Parameters
    weight: int = 0
    undecoded: Undecoded | None = None

    @property
    def unreadable(self) -> Answer | None:
        """The answer to a body whose content-coding could not be undone, for who can be refused."""
        if self.undecoded is None:
            return None
        if self.undecoded.not_understood:
            accepted = ((b"accept-encoding", b"gzip, deflate, identity"),)
            return refusal(415, self.undecoded.why, headers=accepted)
        return refusal(400, self.undecoded.why)

    @property
    def content_encoding(self) -> str | None:
        """The header as text."""
        given = self.headers.get(b"content-encoding")
        return None if given is None else given.decode("latin-1")

    @property
    def content_type(self) -> str | None:
        """The header as text, without what no program reads."""
        given = self.headers.get(b"content-type")
        return None if given is None else given[:_CONTENT_TYPE_BYTES].decode("latin-1")

    @property
    def key(self) -> str | None:
        """The sender's own name of this delivery: ``Idempotency-Key``, else Standard Webhooks' ``webhook-id``.

        One that is longer than any real one goes by its hash.
        """
        given = self.headers.get(b"idempotency-key") or self.headers.get(b"webhook-id")
        if given and len(given) > _KEY_BYTES:
            return f"sha256:{hashlib.sha256(given).hexdigest()}"
        return given.decode("latin-1") if given else None

    def secrets(self, tokens: Sequence[str]) -> list[str]:
        """The secrets that the address shows: ``tokens`` of its path, and parameters."""
        if not self.parameters:
            return [*tokens]
        shown = [value for name, value in self.parameters if value and name.strip().lower() in SECRET_PARAMETERS]
        return [*tokens, *(one for value in shown for one in spellings(value))]


_request = constructor(Request)


async def read_request(
    scope: Scope, receive: Receive, *, limit_bytes: int, parameters: int, worker: Worker
) -> Request | Answer | None:
    """Return the request, or the answer that refuses to read it; ``None`` where the client has gone.

    ``limit_bytes`` is for the body, ``parameters`` is how many the address may have.
    """
    # Of a repeated header the last counts.
    headers: dict[bytes, bytes] = dict(scope["headers"])
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > limit_bytes:
        return too_large(limit_bytes)
    message = await receive()
    sent: bytes | None = message.get("body")
    if sent is None or message.get("more_body", False):
        sent = await _rest(message, receive, limit_bytes)
        if sent is None:
            return None
    if len(sent) > limit_bytes:
        return too_large(limit_bytes)
    query: bytes = scope["query_string"]
    found = await parameters_within(parameters, query, worker)
    if isinstance(found, Answer):
        return found
    weight = len(sent) + len(query)
    coding = headers.get(b"content-encoding")
    if coding is None:
        return _request(headers=headers, sent=sent, body=sent, parameters=found, weight=weight)
    # A few bytes may be a large body.
    body = await worker.do(limit_bytes, lambda: decoded(sent, coding.decode("latin-1"), limit_bytes=limit_bytes))
    if not isinstance(body, Undecoded):
        weight += len(body)
        return Request(headers=headers, sent=sent, body=body, parameters=found, weight=weight)
    if body.too_large:
        return too_large(limit_bytes)
    return Request(headers=headers, sent=sent, body=sent, parameters=found, weight=weight, undecoded=body)


async def parameters_within(limit: int, query: bytes, worker: Worker) -> Parameters | Answer:
    """Return the parameters of an address, or the answer that refuses to read so many."""
    if not query:
        return ()
    if len(query) > _QUERY_BYTES:
        return refusal(414, f"the address has more than {_QUERY_BYTES} bytes of parameters; send them in the body")
    try:
        return await worker.do(len(query), lambda: parameters_of(query, at_most=limit))
    except TooManyParameters:
        return refusal(414, f"the address has more than {limit} parameters; send them in the body")


async def _rest(message: Message, receive: Receive, limit_bytes: int) -> bytes | None:
    """Return a body that comes in pieces; no more of it is read than it takes to know that it is too large."""
    body = bytearray()
    while message["type"] != "http.disconnect":
        body += message.get("body", b"")
        if len(body) > limit_bytes or not message.get("more_body", False):
            return bytes(body)
        message = await receive()
    return None
