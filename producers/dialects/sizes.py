"""How much of a thing one request may hold, counted before it is interpreted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The most that one request may hold; the door's settings give the first six.

    ``parameters`` are those of an address, ``fields`` those of a form, ``parts`` those of a multipart body (files as
    well), ``levels`` those of nested JSON. Every conversion of an array carries the whole body, so that it can be
    understood alone; ``copied_bytes`` is what the copies may add up to, because they must fit into the producer's
    queue with room for others.
    """

    parameters: int = 500
    # A form has tens of fields, a cart some hundreds, a hundred leads of a CRM some thousands.
    fields: int = 20_000
    parts: int = 2000
    # orjson writes 254 levels and reads 1024.
    levels: int = 250
    conversions: int = 1000
    sessions: int = 1000
    copied_bytes: int = 32 * _MIB

    def excess(self, conversions: int, request_bytes: int) -> str | None:
        """Return why so many conversions in one request of that size are too many, or ``None``."""
        if conversions > self.conversions:
            return f"an array of {conversions} conversions is too long; send at most {self.conversions} at once"
        if conversions > 1 and conversions * request_bytes > self.copied_bytes:
            return f"an array of {conversions} conversions in one body is too much; send smaller ones"
        return None


USUAL_SIZES: Final = Sizes()
# For who reads a kept body in a process of its own, where nobody waits: a replay must not refuse again what a door with
# higher limits may have taken.
UNHURRIED: Final = Sizes(fields=1_000_000, parts=100_000, levels=1000, conversions=100_000, copied_bytes=256 * _MIB)


def deeper_than(levels: int, text: bytes, values: Any) -> bool:
    """Whether ``values``, read from the JSON ``text``, are nested deeper than ``levels``."""
    # Each level takes a bracket: counting those is a hundred times faster, and enough for nearly every body.
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    row = [values]
    for _ in range(levels):
        row = [inner for one in row for inner in _inside(one)]
        if not row:
            return False
    return any(isinstance(one, dict | list) for one in row)


def _inside(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in inner if isinstance(one, dict | list)]
