"""Dead letters: the untouched record plus headers that say why, for people, for replay and for existing tools.

Route on ``dlq.error.class``; the message is for people. ``__connect.errors.*`` are the names that Kafka Connect's
DeadLetterQueueReporter writes and ``kafka_dlt-original-topic`` is Spring Kafka's, so their tools read our topics too.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from schemas import history
from schemas.fitting import fitted
from schemas.history import FIXED_HEADER, ORIGIN_TOPIC, REPLAY_COUNT_HEADER, REPLAY_RUN_HEADER, count, marked
from schemas.records import Headers, Incoming, Outgoing, header

SCHEMA_VERSION: Final = "1"

# Long enough for a sentence and a field name, short enough that a letter never outgrows the broker's record limit.
MESSAGE_LIMIT_BYTES: Final = 1024

_PREFIXES: Final = ("dlq.", "__connect.errors.", "kafka_dlt-")
# A day, or a moment of a day, in ISO 8601; a telephone number of eight digits must not pass for one.
_MOMENT: Final = (
    r"\b(?:19|20)\d\d-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])"
    r"(?:[T ][0-2]\d:[0-5]\d(?::[0-6]\d(?:[.,]\d{1,9})?)?(?:Z|[+-][0-2]\d:?[0-5]\d)?)?\b"
)
# E-mail addresses, telephone and visitor numbers, and tokens: an error may quote the value that it is about. Ids, times
# and sizes look like them and may stay.
_PRIVATE: Final = re.compile(
    rf"(?P<shown>\b[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}\b|{_MOMENT}|\b\d+ bytes\b)"
    r"|[^\s\"'<>=(),;@]{1,64}@[^\s\"'<>=(),;]+"
    r"|(?<![\w-])(?=[\w-]*?\d)[\w-]{20,}"  # looked for where a word begins: inside of a long one it would take ages
    r"|\+?\d(?:[ ()-]{0,2}\d){6,}"
)


class ErrorClass(StrEnum):
    """Why a record could not be processed. Stable: other people's rules and alerts route on these tokens."""

    BODY_UNPARSEABLE = "body_unparseable"
    UNDECODABLE = "undecodable"
    SCHEMA_UNKNOWN = "schema_unknown"
    EVENT_INVALID = "event_invalid"
    NO_VISITOR = "no_visitor"
    GOAL_INVALID = "goal_invalid"
    WEBHOOK_UNKNOWN = "webhook_unknown"
    DEAL_NOT_FOUND = "deal_not_found"
    SESSION_NOT_FOUND = "session_not_found"
    ROW_REFUSED = "row_refused"
    AMOUNT_CHANGED = "amount_changed"
    METRIKA_REJECTED = "metrika_rejected"
    EXPIRED = "expired"

    @property
    def retriable(self) -> bool:
        """Whether the same bytes may succeed once something outside of them is mended; else they have to be fixed."""
        return self in _RETRIABLE


_RETRIABLE: Final = frozenset(
    {
        ErrorClass.BODY_UNPARSEABLE,  # by a newer parser, or another dialect of the webhook
        ErrorClass.SCHEMA_UNKNOWN,
        ErrorClass.WEBHOOK_UNKNOWN,
        ErrorClass.DEAL_NOT_FOUND,
        ErrorClass.NO_VISITOR,  # by a field of the webhook, or of the fetched deal, that is filled in meanwhile
        ErrorClass.SESSION_NOT_FOUND,
        ErrorClass.ROW_REFUSED,
        ErrorClass.AMOUNT_CHANGED,  # by a person who wants that amount
        ErrorClass.METRIKA_REJECTED,
    }
)


class Stage(StrEnum):
    """Which step refused the record."""

    PARSE = "parse"
    DECODE = "decode"
    FETCH = "fetch"
    RESOLVE = "resolve"
    JOIN = "join"
    WRITE = "write"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why, in which step, after how many attempts. ``message`` holds no secret and no personal data.

    ``effects_done`` names what has happened already and must not be repeated by a replay: ``row`` or empty.
    ``upload_batch_id`` is our id of the upload that carried it, ``metrika_upload_id`` Metrika's.
    """

    error_class: ErrorClass
    stage: Stage
    message: str
    attempts: int = 1
    exception: str | None = None
    effects_done: str = ""
    metrika_upload_id: str | None = None
    upload_batch_id: str | None = None


def redacted(message: str) -> str:
    """Return ``message`` without what may be personal or secret, at most 1024 bytes of UTF-8.

    The reasons that stages give are written without such values; this is for the one that slips through, for example
    out of another program's error. Ids of events and webhooks stay.
    """
    shown = _PRIVATE.sub(lambda found: found["shown"] or "(hidden)", message[: 4 * MESSAGE_LIMIT_BYTES])
    return shown.encode("utf-8", "replace")[:MESSAGE_LIMIT_BYTES].decode("utf-8", "ignore")


def letter_for(
    record: Incoming, reason: Reason, *, topic: str, now_ms: int, letter_id: uuid.UUID, group: str = ""
) -> Outgoing:
    """Return the dead letter for ``record``: same key, value and headers, plus the reason.

    A record that fails again after a replay keeps its first coordinates in ``dlq.original.*``; counters grow and the
    reason is replaced, so headers never pile up (Spring Kafka's rule). ``__connect.errors.*`` always name the record
    that failed now, as Kafka Connect does. What is too large to be kept beside the reason is left out, and named in
    ``dlq.cut``. ``topic`` is the dead-letter topic, ``now_ms`` epoch milliseconds,
    ``group`` the consumer group that read the record.
    """
    described = _described(record, reason, now_ms=now_ms, letter_id=letter_id, group=group)
    described |= _for_connect(record, reason, group=group)
    why = tuple((name, text.encode("utf-8", "replace")) for name, text in described.items() if text)
    letter = Outgoing(topic=topic, key=record.key, value=record.value, headers=original_headers(record.headers) + why)
    return fitted(letter, why=why)


def _described(record: Incoming, reason: Reason, *, now_ms: int, letter_id: uuid.UUID, group: str) -> dict[str, str]:
    now = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    earlier = _earlier_letter(record)
    return {
        "dlq.schema.version": SCHEMA_VERSION,
        "dlq.id": str(letter_id),
        ORIGIN_TOPIC: record.topic,
        history.ORIGIN_PARTITION: earlier.get(history.ORIGIN_PARTITION, str(record.partition)),
        history.ORIGIN_OFFSET: earlier.get(history.ORIGIN_OFFSET, str(record.offset)),
        history.ORIGIN_TIMESTAMP: earlier.get(history.ORIGIN_TIMESTAMP, str(record.timestamp)),
        "dlq.original.key.present": _said(record.key is not None),
        "dlq.consumer.group": group,
        "dlq.stage": reason.stage.value,
        "dlq.error.class": reason.error_class.value,
        "dlq.error.retriable": _said(reason.error_class.retriable),
        "dlq.error.exception": reason.exception or "",
        "dlq.error.message": redacted(reason.message),
        history.ATTEMPTS: str(reason.attempts + count(earlier.get(history.ATTEMPTS))),
        history.FIRST_FAILED_AT: earlier.get(history.FIRST_FAILED_AT, now),
        "dlq.last.failed.at": now,
        REPLAY_COUNT_HEADER: earlier.get(REPLAY_COUNT_HEADER, "0"),
        REPLAY_RUN_HEADER: earlier.get(REPLAY_RUN_HEADER, ""),
        FIXED_HEADER: earlier.get(FIXED_HEADER, ""),
        "dlq.effects.done": reason.effects_done,
        "dlq.upload.batch.id": reason.upload_batch_id or "",
        "dlq.metrika.upload.id": reason.metrika_upload_id or "",
        "dlq.app.version": _app_version(),
    }


def _for_connect(record: Incoming, reason: Reason, *, group: str) -> dict[str, str]:
    """Return the names of Kafka Connect's DeadLetterQueueReporter, all values as text; and Spring's one name."""
    exception, message = reason.exception or reason.error_class.value, redacted(reason.message)
    return {
        "__connect.errors.topic": record.topic,
        "__connect.errors.partition": str(record.partition),
        "__connect.errors.offset": str(record.offset),
        "__connect.errors.connector.name": group or "goalpost",
        "__connect.errors.task.id": "0",
        "__connect.errors.stage": reason.stage.value,
        "__connect.errors.class.name": f"goalpost.{reason.stage.value}",
        "__connect.errors.exception.class.name": exception,
        "__connect.errors.exception.message": message,
        # Frames would say where in our code it happened and could quote values; tools only need a text here.
        "__connect.errors.exception.stacktrace": f"{exception}: {message}",
        "kafka_dlt-original-topic": record.topic,
    }


def _earlier_letter(record: Incoming) -> Mapping[str, str]:
    """Return what a replay kept of the record's earlier letter; coordinates only if that stood in the same topic.

    They would point into the wrong topic where a stage hands headers on to its output.
    """
    found = history.believed(record)
    if found.get(ORIGIN_TOPIC) == record.topic:
        return found
    return {name: found[name] for name in history.EVERYWHERE if name in found}


def _said(truth: bool) -> str:
    return "true" if truth else "false"


@cache
def _app_version() -> str:
    try:
        return version("goalpost")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return ""


def replays_of(headers: Headers) -> int:
    """Return how often the record of a letter was replayed."""
    return count(header(headers, REPLAY_COUNT_HEADER))


def original_headers(headers: Headers) -> Headers:
    """Return the headers that the record had before it became a dead letter."""
    return tuple((name, value) for name, value in headers if not name.startswith(_PREFIXES))


def for_replay(letter: Incoming, *, run_id: str = "", fixed: bool = False) -> Outgoing:
    """Return the record to write back to where the letter came from: same key and value, replay count plus one.

    ``run_id`` names the run, so that letters that come back can be told from others; ``fixed`` says that somebody
    will change the value, and then has to mark the record anew (``schemas.history.marked``).

    Raises:
        ValueError: the record is no dead letter (it does not name its original topic).
    """
    origin = header(letter.headers, ORIGIN_TOPIC)
    if origin is None:
        raise ValueError(f"{letter.topic} {letter.partition}:{letter.offset} has no dlq.original.topic header")
    found = history.told(letter.headers)
    kept = tuple((name, found[name].encode()) for name in history.AT_HOME if name in found)
    replay = replay_headers(letter, run_id=run_id, fixed=fixed)
    headers = (*original_headers(letter.headers), *kept, *replay)
    return marked(Outgoing(topic=origin, key=letter.key, value=letter.value, headers=headers))


def replay_headers(letter: Incoming, *, run_id: str = "", fixed: bool = False) -> Headers:
    """Return what a record that goes back says of the replay itself."""
    fixed = fixed or header(letter.headers, FIXED_HEADER) is not None
    described = {
        REPLAY_COUNT_HEADER: str(replays_of(letter.headers) + 1),
        REPLAY_RUN_HEADER: run_id,
        FIXED_HEADER: "true" if fixed else "",
    }
    return tuple((name, text.encode()) for name, text in described.items() if text)
