"""What a replayed record says of its earlier letters, and whether it is believed.

A replay writes a record back to its topic with a few headers of its letter, so that a second failure can tell the whole
story. Anybody who may write to the topic can write such headers, too: tools that copy records with all their headers
do. So they count only beside a mark that a replay makes of them and of the value. A letter never keeps the mark, so a
copy of a letter has none. The mark is no secret: whoever makes one on purpose says no more with it than wrong numbers
within their limits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from schemas.records import Headers, Incoming, Outgoing, header, whole_number

ORIGIN_TOPIC: Final = "dlq.original.topic"
ORIGIN_PARTITION: Final = "dlq.original.partition"
ORIGIN_OFFSET: Final = "dlq.original.offset"
ORIGIN_TIMESTAMP: Final = "dlq.original.timestamp"
ATTEMPTS: Final = "dlq.attempts"
FIRST_FAILED_AT: Final = "dlq.first.failed.at"
REPLAY_COUNT_HEADER: Final = "dlq.replay.count"
REPLAY_RUN_HEADER: Final = "dlq.replay.run.id"
FIXED_HEADER: Final = "dlq.replay.fixed"
MARK_HEADER: Final = "dlq.replay.mark"

# True in the topic where the letter's record stood.
AT_HOME: Final = (ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET, ORIGIN_TIMESTAMP, ATTEMPTS, FIRST_FAILED_AT)
# True of the event wherever it fails next, unlike its coordinates, which are true in one topic only.
EVERYWHERE: Final = (REPLAY_COUNT_HEADER, REPLAY_RUN_HEADER, FIXED_HEADER)

_LARGEST_INT: Final = 2**31 - 1
# Kafka's own limit for names of topics; times and ids of runs are far shorter.
_LONGEST_TEXT: Final = 249
_LARGEST: Final = {
    ORIGIN_PARTITION: _LARGEST_INT,
    ORIGIN_OFFSET: 2**63 - 1,
    ORIGIN_TIMESTAMP: 2**63 - 1,
    ATTEMPTS: _LARGEST_INT,
    REPLAY_COUNT_HEADER: _LARGEST_INT,
}


def told(headers: Headers) -> dict[str, str]:
    """Return what the headers say of earlier letters, as far as it can be so; what cannot is left out."""
    found: dict[str, str] = {}
    for name in (*AT_HOME, *EVERYWHERE):
        text = header(headers, name)
        if text is not None and _possible(name, text):
            found[name] = text
    return found


def count(text: str | None) -> int:
    """Read a counter of these headers; one that cannot be read counts nothing."""
    return whole_number(text, largest=_LARGEST_INT) or 0


def marked(record: Outgoing) -> Outgoing:
    """Return a record that goes back to its topic, with the mark by which its headers are believed there."""
    kept = tuple(pair for pair in record.headers if pair[0] != MARK_HEADER)
    mark = _mark(told(kept), record.value)
    return replace(record, headers=(*kept, (MARK_HEADER, mark.encode())))


def believed(record: Incoming) -> dict[str, str]:
    """Return what a record of an ordinary topic says of earlier letters; nothing where no replay has written it."""
    mark = header(record.headers, MARK_HEADER)
    if mark is None:
        return {}
    found = told(record.headers)
    return found if mark == _mark(found, record.value) else {}


def _possible(name: str, text: str) -> bool:
    if name in _LARGEST:
        return whole_number(text, largest=_LARGEST[name]) is not None
    return len(text) <= _LONGEST_TEXT and text.isascii() and text.isprintable()


def _mark(found: Mapping[str, str], value: bytes | None) -> str:
    made = hashlib.sha256(b"goalpost replay")
    for name, text in sorted(found.items()):
        made.update(f"\0{name}={text}".encode())
    made.update(b"\0" + (value or b""))
    return made.hexdigest()[:32]
