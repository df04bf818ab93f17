"""A body's content-coding undone, wholly or not at all: several members are one body, nothing behind them is lost.

Only gzip and deflate are understood, which HTTP libraries offer their users for requests as well. RFC 1952 lets a gzip
file have several members, and tools pad the last with zeros; "deflate" is zlib's format by RFC 9110, and bare deflate
in practice.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

_GZIP: Final = frozenset({"gzip", "x-gzip"})
_DEFLATE: Final = "deflate"
# No codings, but some senders name their charset here.
_NO_CODINGS: Final = frozenset({"", "identity", "none", "utf-8", "utf8", "windows-1251"})

# zlib's own codes for: either header, whichever is there; and for none.
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS
_NO_HEADER: Final = -zlib.MAX_WBITS
_MEMBER: Final = b"\x1f\x8b"

# A compressor makes one a flush, or one a block of 64 KB. Each costs the set-up of a decompressor, and what is read
# ahead of its end is copied: the window bounds that.
MEMBERS_LIMIT: Final = 1000
_WINDOW_BYTES: Final = 16 * 1024
# Small enough that nearly everything before a fault comes out.
_SMALL_WINDOW_BYTES: Final = 32

# Text has none of these, whatever its charset; compressed bytes soon have one.
_NO_TEXT: Final = frozenset(range(32)) - frozenset(b"\t\n\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecoded:
    """The coding cannot be undone, or what comes out is larger than the limit. ``why`` ends with a remedy."""

    why: str
    not_understood: bool = False
    too_large: bool = False


_NO_CODED_BODY: Final = Undecoded(why="the body is not what its Content-Encoding says; send it again, or without one")
_CUT_SHORT: Final = Undecoded(why="the compressed body ends early; send it again, or without Content-Encoding")
_BEHIND: Final = Undecoded(why="something follows the end of the compressed body; compress the body as a whole")
_TOO_MANY: Final = Undecoded(
    why=f"the compressed body has more than {MEMBERS_LIMIT} members; compress the body as a whole"
)
_TOO_LARGE: Final = Undecoded(why="the body is too large; send fewer conversions in one request", too_large=True)
_NOT_UNDERSTOOD: Final = Undecoded(
    why="this Content-Encoding is not understood; send gzip, deflate or none", not_understood=True
)


def decoded(sent: bytes, coding: str, *, limit_bytes: int) -> bytes | Undecoded:
    """Return the body that was ``sent`` with a ``Content-Encoding``; it has at most ``limit_bytes``."""
    named = [name for part in coding.split(",") if (name := part.strip().lower()) not in _NO_CODINGS]
    if not named or not sent:
        return sent
    if len(named) > 1 or named[0] not in {*_GZIP, _DEFLATE}:
        return _NOT_UNDERSTOOD
    found = _Inflating(_ANY_HEADER, limit_bytes).whole(sent)
    if found is _NO_CODED_BODY and named[0] == _DEFLATE:
        return _Inflating(_NO_HEADER, limit_bytes).whole(sent)
    return found


def readable_part(sent: bytes, *, limit_bytes: int) -> bytes:
    """Return what comes out of a damaged body before the damage."""
    inflating = _Inflating(_ANY_HEADER, limit_bytes, window_bytes=_SMALL_WINDOW_BYTES)
    inflating.whole(sent)
    return bytes(inflating.body)


def looks_plain(sent: bytes) -> bool:
    """Whether a body is text as it stands, so that a coding it claims to have is a mistake of its sender's."""
    return _NO_TEXT.isdisjoint(sent)


class _Inflating:
    """Undoes gzip or deflate, in time linear in what is sent and what comes out (``body``)."""

    def __init__(self, header: int, limit_bytes: int, *, window_bytes: int = _WINDOW_BYTES) -> None:
        self._header = header
        self._limit_bytes = limit_bytes
        self._window_bytes = window_bytes
        self.body = bytearray()

    def whole(self, sent: bytes) -> bytes | Undecoded:
        """Return all members as one body."""
        rest = memoryview(sent)
        for _ in range(MEMBERS_LIMIT):
            after = self._member(rest)
            if isinstance(after, Undecoded):
                return after
            rest = after
            if bytes(rest[:2]) != _MEMBER:
                padded = not rest or (rest[0] == 0 and not bytes(rest).strip(b"\0"))
                return bytes(self.body) if padded else _BEHIND
        return _TOO_MANY

    def _member(self, rest: memoryview) -> memoryview | Undecoded:
        inflating = zlib.decompressobj(self._header)
        while not inflating.eof:
            window = rest[: self._window_bytes]
            if not window:
                return _CUT_SHORT
            try:
                self.body += inflating.decompress(window, self._limit_bytes + 1 - len(self.body))
            except zlib.error:
                return _NO_CODED_BODY
            if len(self.body) > self._limit_bytes:
                return _TOO_LARGE
            rest = rest[len(window) - len(inflating.unused_data) :]
        return rest
