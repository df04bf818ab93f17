"""What may be stored of a body that holds secrets, whatever the body comes inside."""

from __future__ import annotations

import re
from typing import Final

import orjson

from producers.dialects.bodies import Unreadable, read
from producers.dialects.redaction import Replacement, redacted
from producers.dialects.wrapping import bare

_JSON: Final = "application/json"
_ESCAPED_AMPERSAND: Final = re.compile(rb"&(?:amp(?:;|%3[Bb]))+")


def storable(body: bytes, content_type: str | None, names: frozenset[str], replacement: Replacement) -> bytes:
    """Return ``body`` with the values of the fields ``names`` replaced, as :func:`redacted`.

    What comes inside something else does not show its names there: if it has one of them, it is written anew without
    its wrapping, and otherwise the body stays byte for byte as it came.
    """
    plain, kind = _unwrapped(body, content_type)
    kept = redacted(plain, kind, names, replacement)
    return body if kept == plain else kept


def _unwrapped(body: bytes, content_type: str | None) -> tuple[bytes, str | None]:
    """Return a body that shows its names, and its Content-Type."""
    try:
        found = read(body, content_type, of_crm=True)
        if found is not None and found.wrapped:
            return orjson.dumps(found.values), _JSON
    except orjson.JSONEncodeError:  # nested too deeply to be written
        return body, content_type
    except Unreadable:
        text = bare(body)
        return (body, content_type) if text is body else (text, _JSON)
    if found is None:
        return body, content_type
    return (_ESCAPED_AMPERSAND.sub(b"&", body), content_type) if found.form else (body, _JSON)
