"""How the files for Metrika are written: the same bytes for the same lines, always, and never all of them in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

# Lines end as in the documentation's sample; readers of RFC 4180 take both ends.
_LINE_END: Final = "\n"
# Quoted by ourselves: Python's csv writer decides about a lone carriage return differently from version to version,
# and the recorded hash of a file must outlive an upgrade.
_QUOTED: Final = re.compile(r'[",\r\n]')
_CHUNK_LINES: Final = 1000


def in_chunks(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield a file of these lines in pieces; only one piece is held at a time."""
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if len(piece) >= _CHUNK_LINES:
            yield _encoded(piece)
            piece.clear()
    if piece:
        yield _encoded(piece)


def cell(text: str) -> str:
    """Return ``text`` as a cell, quoted where it has to be."""
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def amount(price: Decimal | None) -> str:
    """Return a price with a dot, no exponent and no idle zeros: 123.4500 is 123.45 as in the documented sample."""
    return "" if price is None else f"{price.normalize():f}"


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}{_LINE_END}" for line in lines).encode()
