"""Dead letters: the untouched record plus headers that say why, for people, for replay and for existing tools.

Route on ``dlq.error.class``; the message is for people. ``__connect.errors.*`` are the names that Kafka Connect's
DeadLetterQueueReporter writes and ``kafka_dlt-original-topic`` is Spring Kafka's, so their tools read our topics too.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from schemas.records import Headers, Incoming, Outgoing, header

SCHEMA_VERSION: Final = "1"

# Long enough for a sentence and a field name, short enough that a letter never outgrows the broker's record limit.
MESSAGE_LIMIT_BYTES: Final = 1024

_PREFIXES: Final = ("dlq.", "__connect.errors.", "kafka_dlt-")
_ORIGIN: Final = ("dlq.original.topic", "dlq.original.partition", "dlq.original.offset", "dlq.original.timestamp")
REPLAY_COUNT_HEADER: Final = "dlq.replay.count"

# What a replayed record keeps of its letter, so that a second failure can tell the whole story.
_KEPT_BY_REPLAY: Final = (*_ORIGIN, "dlq.attempts", "dlq.first.failed.at")


class ErrorClass(StrEnum):
    """Why a record could not be processed. Stable: other people's rules and alerts route on these tokens."""

    BODY_UNPARSEABLE = "body_unparseable"
    UNDECODABLE = "undecodable"
    SCHEMA_UNKNOWN = "schema_unknown"
    EVENT_INVALID = "event_invalid"
    GOAL_INVALID = "goal_invalid"
    WEBHOOK_UNKNOWN = "webhook_unknown"
    SESSION_NOT_FOUND = "session_not_found"
    ROW_REFUSED = "row_refused"
    METRIKA_REJECTED = "metrika_rejected"
    EXPIRED = "expired"


class Stage(StrEnum):
    """Which step refused the record."""

    PARSE = "parse"
    DECODE = "decode"
    RESOLVE = "resolve"
    JOIN = "join"
    WRITE = "write"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why, in which step, after how many attempts. ``message`` holds no secret and no personal data.

    ``effects_done`` names what has happened already and must not be repeated by a replay: ``row`` or empty.
    """

    error_class: ErrorClass
    stage: Stage
    message: str
    attempts: int = 1
    exception: str | None = None
    effects_done: str = ""
    metrika_upload_id: str | None = None


def letter_for(record: Incoming, reason: Reason, *, topic: str, now_ms: int, letter_id: uuid.UUID) -> Outgoing:
    """Return the dead letter for ``record``: same key, value and headers, plus the reason.

    A record that fails again after a replay keeps its first coordinates in ``dlq.original.*``; counters grow and the
    reason is replaced, so headers never pile up (Spring Kafka's rule). ``__connect.errors.*`` always name the record
    that failed now, as Kafka Connect does. ``topic`` is the dead-letter topic, ``now_ms`` epoch milliseconds.
    """
    now = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = reason.message.encode("utf-8")[:MESSAGE_LIMIT_BYTES].decode("utf-8", "ignore")
    earlier = _earlier_letter(record)
    described = {
        "dlq.schema.version": SCHEMA_VERSION,
        "dlq.id": str(letter_id),
        "dlq.original.topic": record.topic,
        "dlq.original.partition": earlier.get("dlq.original.partition", str(record.partition)),
        "dlq.original.offset": earlier.get("dlq.original.offset", str(record.offset)),
        "dlq.original.timestamp": earlier.get("dlq.original.timestamp", str(record.timestamp)),
        "dlq.stage": reason.stage.value,
        "dlq.error.class": reason.error_class.value,
        "dlq.error.exception": reason.exception or "",
        "dlq.error.message": message,
        "dlq.attempts": str(reason.attempts + _count(earlier.get("dlq.attempts"))),
        "dlq.first.failed.at": earlier.get("dlq.first.failed.at", now),
        "dlq.last.failed.at": now,
        REPLAY_COUNT_HEADER: earlier.get(REPLAY_COUNT_HEADER, "0"),
        "dlq.effects.done": reason.effects_done,
        "dlq.metrika.upload.id": reason.metrika_upload_id or "",
        "__connect.errors.topic": record.topic,
        "__connect.errors.partition": str(record.partition),
        "__connect.errors.offset": str(record.offset),
        "__connect.errors.stage": reason.stage.value,
        "__connect.errors.exception.class.name": reason.exception or reason.error_class.value,
        "__connect.errors.exception.message": message,
        "kafka_dlt-original-topic": record.topic,
    }
    return Outgoing(
        topic=topic,
        key=record.key,
        value=record.value,
        headers=original_headers(record.headers)
        + tuple((name, text.encode("utf-8")) for name, text in described.items() if text),
    )


def _earlier_letter(record: Incoming) -> dict[str, str]:
    """Return what a replay kept of the record's earlier letter; nothing where that letter came from another topic.

    Its coordinates would point into the wrong topic where a stage hands headers on to its output.
    """
    if header(record.headers, "dlq.original.topic") != record.topic:
        return {}
    found = {name: header(record.headers, name) for name in (*_KEPT_BY_REPLAY, REPLAY_COUNT_HEADER)}
    return {name: text for name, text in found.items() if text is not None}


def _count(text: str | None) -> int:
    """Read a counter; another tool may have written the header, and a stage must not stumble over it."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def original_headers(headers: Headers) -> Headers:
    """Return the headers that the record had before it became a dead letter."""
    return tuple((name, value) for name, value in headers if not name.startswith(_PREFIXES))


def for_replay(letter: Incoming) -> Outgoing:
    """Return the record to write back to where the letter came from: same key and value, replay count plus one.

    Raises:
        ValueError: the record is no dead letter (it does not name its original topic).
    """
    origin = header(letter.headers, "dlq.original.topic")
    if origin is None:
        raise ValueError(f"{letter.topic} {letter.partition}:{letter.offset} has no dlq.original.topic header")
    count = _count(header(letter.headers, REPLAY_COUNT_HEADER)) + 1
    kept: Headers = tuple((name, value) for name, value in letter.headers if name in _KEPT_BY_REPLAY)
    headers = (*original_headers(letter.headers), *kept, (REPLAY_COUNT_HEADER, str(count).encode()))
    return Outgoing(topic=origin, key=letter.key, value=letter.value, headers=headers)
