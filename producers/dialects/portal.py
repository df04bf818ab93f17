"""What a Bitrix24 portal says of itself in every body: tokens, of which one authenticates it and none may be stored."""

from __future__ import annotations

from typing import Final

from producers.dialects.lookup import Sheet
from producers.dialects.opening import opened
from producers.dialects.outcome import Submission
from producers.dialects.storing import storable

# Bitrix24's own bodies are a tenth of that; nobody has to be believed yet when this much is read.
_READ_BYTES: Final = 64 * 1024

_TOKENS: Final = frozenset({"application_token", "access_token", "refresh_token", "event_token"})


def secrets(body: bytes, content_type: str | None) -> tuple[str, ...]:
    """Return the ``auth[application_token]``, which Bitrix24 shows when an outgoing webhook is made."""
    if len(body) > _READ_BYTES:
        return ()
    content = opened(Submission(body=body, content_type=content_type, query=(), received_at=0, fields={}))
    if not isinstance(content, dict):
        return ()
    token = Sheet(content).find("auth[application_token]")
    return (token,) if isinstance(token, str) else ()


def stored(body: bytes, content_type: str | None) -> bytes:
    """Return the body without its tokens, and byte for byte as it is otherwise."""
    return storable(body, content_type, _TOKENS, lambda _: "")
