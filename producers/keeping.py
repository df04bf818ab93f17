"""What is kept of a body whose content-coding could not be undone, when its sender cannot be refused."""

from __future__ import annotations

from typing import NamedTuple

from producers.codings import looks_plain, readable_part
from producers.dialects import Dialect
from producers.dialects.redaction import CUT
from producers.request import Request


class Kept(NamedTuple):
    """A body as it is stored, the content-coding that it still has, and why that could not be undone."""

    body: bytes
    coding: str | None = None
    undecoded: str | None = None


def kept_body(request: Request, dialect: Dialect, *, limit_bytes: int) -> Kept:
    """Return what is stored of a request's body.

    One that cannot be decoded is kept as it came, unless it is plain text, which needs no decoding. Where a dialect's
    bodies hold what may not be stored, it is what comes out before the damage, because nobody could cut the rest.
    """
    if request.undecoded is None or looks_plain(request.sent):
        return Kept(dialect.storable(request.body, request.content_type))
    why = request.undecoded.why
    if dialect.stored is not None and (part := readable_part(request.sent, limit_bytes=limit_bytes)):
        return Kept(dialect.stored(part, request.content_type) + CUT, undecoded=why)
    return Kept(request.sent, coding=request.content_encoding, undecoded=why)
