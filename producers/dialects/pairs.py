"""Names and values of a form or of an address, as people mean them."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

Pairs = list[tuple[str, str]]

# An address that was copied out of HTML has the ampersand as it is written there.
_ESCAPED: Final = "amp;"


def pairs_of(text: str, *, encoding: str = "utf-8", errors: str = "strict", at_most: int | None = None) -> Pairs:
    """Return the fields of ``a=1&b=2`` in order, blank ones included; ``&amp;`` between two is an ampersand.

    Raises:
        ValueError: more than ``at_most`` fields, or percent-encoded bytes that ``encoding`` does not have.
    """
    found = parse_qsl(text, keep_blank_values=True, encoding=encoding, errors=errors, max_num_fields=at_most)
    if _ESCAPED not in text and "amp%3" not in text:
        return found
    return [(_unescaped(name), value) for name, value in found]


def _unescaped(name: str) -> str:
    begin = 0
    while name.startswith(_ESCAPED, begin):
        begin += len(_ESCAPED)
    return name[begin:]
