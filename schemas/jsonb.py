"""JSON that PostgreSQL's jsonb takes, and that it does not blow up. Pure, and linear in the length of the text.

jsonb refuses the NUL character and keeps a number as ``numeric``: at most 16383 digits behind the point (PostgreSQL
documentation, "Numeric Types"; "JSON Types"). It also writes each number out in full, so that the six bytes of
``1e-9999`` come back as ten thousand. Whoever sent such a number did not mean one, and the fields around it do matter:
it is kept as a text of the same characters.
"""

from __future__ import annotations

import math
import re
from typing import Final

# With the smallest exponent behind it, a number of so many characters still has fewer than 16383 digits of a fraction.
NUMBER_LIMIT: Final = 16_000
# What a double can hold, and so all that a program can have meant.
EXPONENT_LIMIT: Final = 308

# A run of digits is looked at from its beginning only, or a long one would be read once from each of its digits.
_LONG_NUMBER: Final = re.compile(rb"(?<![0-9.])[0-9.]{%d}" % NUMBER_LIMIT)
_TINY_NUMBER: Final = re.compile(rb"[0-9.][eE]-0*+[0-9]{3}")
# A string that does not end goes on to the end: from each of its quotes it would be read again.
_STRING_OR_NUMBER: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|-?[0-9][0-9.]*+(?:[eE][+-]?[0-9]*+)?', re.DOTALL)
_ESCAPED_NUL: Final = re.compile(rb"(?<!\\)((?:\\\\)*+)\\u0000")
_REPLACEMENT: Final = "\ufffd".encode()


def is_storable(written: bytes) -> bool:
    """Whether jsonb takes this JSON as it stands."""
    return not _is_suspect(written) or _tamed(written) == written


def storable(written: bytes) -> bytes:
    """Return JSON that jsonb takes: absurd numbers become texts, the NUL character becomes U+FFFD, all else stays."""
    return _tamed(written) if _is_suspect(written) else written


def _is_suspect(written: bytes) -> bool:
    # Plain searches first: a regular expression over each body takes longer than parsing it.
    if b"\\u0000" in written:
        return True
    if len(written) >= NUMBER_LIMIT and _LONG_NUMBER.search(written):
        return True
    return (b"e-" in written or b"E-" in written) and _TINY_NUMBER.search(written) is not None


def without_absurd_numbers(written: bytes) -> bytes:
    """Return JSON that a strict parser can read: absurd numbers become texts, and what texts say stays as it is."""
    return _STRING_OR_NUMBER.sub(_sane, written)


def _tamed(written: bytes) -> bytes:
    return _STRING_OR_NUMBER.sub(_taken, written)


def _taken(found: re.Match[bytes]) -> bytes:
    token = found[0]
    if token.startswith(b'"'):
        return _ESCAPED_NUL.sub(rb"\1" + _REPLACEMENT, token) if b"\\u0000" in token else token
    return _sane(found)


def _sane(found: re.Match[bytes]) -> bytes:
    token = found[0]
    return token if token.startswith(b'"') or not _is_absurd(token) else b'"%b"' % token


def _is_absurd(token: bytes) -> bool:
    mantissa, _, exponent = token.lower().partition(b"e")
    if len(mantissa) > NUMBER_LIMIT:
        return True
    size = exponent.lstrip(b"+-0")
    if len(size) > 3 or int(size or b"0") > EXPONENT_LIMIT:
        return True
    whole = len(mantissa.partition(b".")[0].lstrip(b"-0"))
    places = whole + (0 if exponent.startswith(b"-") else int(size or b"0"))
    # The greatest double has one place more than its exponent says; whether a number of so many is greater, it tells.
    return places > EXPONENT_LIMIT + 1 or (places == EXPONENT_LIMIT + 1 and math.isinf(float(token)))
