"""What of a signed request its signature covers: the body, and nothing else.

Whoever has seen one signed request can send its body again within the tolerance, with another address, Content-Type or
Idempotency-Key. None of these may therefore decide what the body means or which event it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from producers.dialects.contract import FIELDS
from schemas.events import Webhook

# RFC 2046, "Common Syntax": a boundary has at most 70 characters of these; the first line of the body is it.
_BOUNDARY: Final = re.compile(rb"--([0-9A-Za-z'()+_,./:=?-]{1,70})\r?\n")


def field_in_address(parameters: Sequence[tuple[str, str]], webhook: Webhook) -> str | None:
    """Return the first parameter of the address that would say something about a conversion, or ``None``."""
    meant = FIELDS.union(webhook.fields.values())
    return next((name for name, value in parameters if name in meant and value.strip()), None)


def content_type_of(body: bytes) -> str | None:
    """Return the Content-Type that a signed body shows by itself; ``None`` for JSON and forms, which need none."""
    found = _BOUNDARY.match(body)
    return None if found is None else f'multipart/form-data; boundary="{found[1].decode()}"'
