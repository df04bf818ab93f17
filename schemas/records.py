"""Kafka records as plain values, so that decisions about them need no client library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# A header may have no value at all, which is not the same as an empty one.
Headers = tuple[tuple[str, bytes | None], ...]

# Headers that every stage keeps: lets a dead letter or a lineage be found without decoding the value.
EVENT_ID_HEADER: Final = "event_id"
WEBHOOK_ID_HEADER: Final = "webhook_id"
# Of a kept request body: why something in it is no conversion, by tokens with commas between them.
IGNORED_HEADER: Final = "ignored"
# The stage that no rule names, where only the CRM's API tells it.
IGNORED_STAGE_HEADER: Final = "ignored.stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A record as read from a topic: untouched bytes and where they stood. ``timestamp`` is epoch milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A record to be written. ``partition`` of -1 lets the key decide (murmur2, as Java does)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int = -1


# A long of Avro, Kafka, Postgres and SQLite; what is larger counts nothing of ours.
LARGEST_LONG: Final = 2**63 - 1
_MOST_DIGITS: Final = len(str(LARGEST_LONG))


def header(headers: Headers, name: str) -> str | None:
    """Return the last header called ``name`` as text, or ``None`` (undecodable bytes are replaced)."""
    for key, value in reversed(headers):
        if key == name:
            return None if value is None else value.decode("utf-8", "replace")
    return None


def whole_number(text: str | None, *, largest: int = LARGEST_LONG) -> int | None:
    """Read a count, an offset or a time as our headers have them: ASCII digits, 0 to ``largest``.

    ``None`` for everything else that another program may have written, whatever its length.
    """
    if text is None or len(text) > _MOST_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= largest else None


def size_of(record: Incoming | Outgoing) -> int:
    """Return how many bytes Kafka counts of a record, to within a few for each header."""
    named = sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + named
