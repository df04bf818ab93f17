"""Whether a record fits into its topic, and a dead letter that does: a batch may hold, compressed, one of any size."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, Headers, Outgoing, size_of
from schemas.topics import RECORD_LIMIT_BYTES

# What of a record was too large to be kept beside the reason: some of value, key and headers.
CUT_HEADER: Final = "dlq.cut"

# What Kafka itself adds: to a batch of one record, and to each header.
_FRAME_BYTES: Final = 512
_HEADER_FRAME_BYTES: Final = 8
# What a letter that is cut says of it, and the ids by which it is found all the same.
_CUT_BYTES: Final = 1024
_IDS: Final = (EVENT_ID_HEADER, WEBHOOK_ID_HEADER)
_ID_BYTES: Final = 200


def fits(record: Outgoing) -> bool:
    """Whether the broker takes the record into a topic of ours."""
    return _size(record) <= RECORD_LIMIT_BYTES


def fitted(letter: Outgoing, *, why: Headers) -> Outgoing:
    """Return ``letter`` without what is too large for its topic.

    ``why``, the last of its headers, stays. The record itself stands where it says until its topic forgets it.
    """
    if fits(letter):
        return letter
    originals = letter.headers[: -len(why)]
    bare = Outgoing(topic=letter.topic, key=None, value=None, headers=why)
    room = RECORD_LIMIT_BYTES - _size(bare) - _CUT_BYTES
    cut = []
    for part, size in (
        ("key", len(letter.key or b"")),
        ("value", len(letter.value or b"")),
        ("headers", _size(replace(bare, headers=originals))),
    ):
        if size > room:
            cut.append(part)
        else:
            room -= size
    if "headers" in cut:
        ids = {name: value for name, value in originals if name in _IDS and len(value or b"") <= _ID_BYTES}
        originals = tuple(ids.items())
    return replace(
        letter,
        key=None if "key" in cut else letter.key,
        value=None if "value" in cut else letter.value,
        headers=(*originals, *why, (CUT_HEADER, ", ".join(cut).encode())),
    )


def _size(record: Outgoing) -> int:
    return size_of(record) + len(record.headers) * _HEADER_FRAME_BYTES + _FRAME_BYTES
