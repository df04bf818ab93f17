"""Dead letters of the join: why a record is refused, and the same letter again when the same record is read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from runtime import metrics
from schemas.codec import Undecodable, UnknownSchemaId
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.identity import letter_id_for
from schemas.records import Incoming, Outgoing, header
from schemas.topics import JOIN_APP, RAW, SESSIONS, WAITING, topic_named

STAGE: Final = "join"

LETTER_TOPICS: Final = frozenset(topic.dead_letters for topic in (RAW, SESSIONS, WAITING))


def letter(record: Incoming, reason: Reason, *, now: int) -> Outgoing:
    """Return the dead letter of ``record`` for its topic's dead-letter topic; to be :func:`counted` when it is sent.

    Its id is made from where the record stands, so a record that is read again after a crash yields the same letter.
    """
    return letter_for(
        record,
        reason,
        topic=topic_named(record.topic).dead_letters,
        now_ms=now,
        letter_id=letter_id_for(record),
        group=JOIN_APP,
    )


def class_of(letter: Outgoing) -> ErrorClass:
    """Return the error class of a record that :func:`letter` made."""
    return ErrorClass(header(letter.headers, "dlq.error.class") or "")


def counted(sent: Iterable[Outgoing]) -> None:
    """Count the dead letters among records that have been sent."""
    for error_class, count in Counter(class_of(one) for one in sent if one.topic in LETTER_TOPICS).items():
        metrics.REJECTED.labels(STAGE, error_class.value).inc(count)


def undecodable(error: Undecodable, *, stage: Stage = Stage.DECODE) -> Reason:
    """Return the reason for a record that is none of its topic."""
    unknown = isinstance(error, UnknownSchemaId)
    error_class = ErrorClass.SCHEMA_UNKNOWN if unknown else ErrorClass.UNDECODABLE
    return Reason(error_class=error_class, stage=stage, message=error.reason, exception=type(error).__name__)
