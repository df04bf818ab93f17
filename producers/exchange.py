"""One HTTP request and its answer, on bare ASGI: what frameworks add here costs a third of the throughput."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

from producers.shortcut import sent_at_once

RETRY_AFTER_SECONDS: Final = 5

_JSON: Final = b"application/json"
_TEXT: Final = b"text/plain; charset=utf-8"

HeaderPairs = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the client gets."""

    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: HeaderPairs = ()


# Answers a request; ``None`` where nobody waits for the answer any more.
Endpoint = Callable[[Scope, Receive], Awaitable[Answer | None]]


async def send_answer(send: Send, answer: Answer) -> None:
    """Send the whole answer."""
    if sent_at_once(send, answer.status, answer.content_type, answer.headers, answer.body):
        return
    length = str(len(answer.body)).encode()
    headers = [(b"content-type", answer.content_type), (b"content-length", length), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def success(status: int, **facts: Any) -> Answer:
    """Return ``{"success": true, ...}``."""
    return Answer(status=status, body=orjson.dumps({"success": True, **facts}))


def refusal(status: int, error: str, *, field: str | None = None, headers: HeaderPairs = ()) -> Answer:
    """Return ``{"success": false, "error": ..., "field": ...}``; ``error`` says what is wrong and what to do."""
    facts: dict[str, Any] = {"success": False, "error": error}
    if field is not None:
        facts["field"] = field
    return Answer(status=status, body=orjson.dumps(facts), headers=headers)


def plain(status: int, text: str) -> Answer:
    """Return an answer of plain text."""
    return Answer(status=status, body=text.encode(), content_type=_TEXT)


def unavailable(why: str) -> Answer:
    """Return 503: nothing is confirmed, and the same request may succeed in a few seconds."""
    retry_after = ((b"retry-after", str(RETRY_AFTER_SECONDS).encode()),)
    return refusal(503, f"{why}; send the same request again in a few seconds", headers=retry_after)


def too_fast(wait_seconds: float) -> Answer:
    """Return 429: the sender is faster than agreed."""
    seconds = max(1, math.ceil(wait_seconds))
    retry_after = ((b"retry-after", str(seconds).encode()),)
    return refusal(429, f"this is faster than agreed; send the same request again in {seconds} s", headers=retry_after)


def too_large(limit_bytes: int) -> Answer:
    """Return 413 and end the connection, because the rest of the body is on its way."""
    remedy = f"the body is larger than {limit_bytes} bytes; send fewer conversions in one request"
    return refusal(413, remedy, headers=((b"connection", b"close"),))


def wrong_method(allowed: bytes) -> Answer:
    """Return 405."""
    return refusal(405, f"this address takes {allowed.decode()}", headers=((b"allow", allowed),))


def conversions_by_post() -> Answer:
    """Return 405 to a conversion that comes with another method."""
    remedy = "conversions are taken by POST only, nothing of this one is stored; let the sender use POST"
    return refusal(405, remedy, headers=((b"allow", b"POST"),))
