"""Dead letters of the join: why a record is refused, and the same letter again when the same record is read again."""

from __future__ import annotations

import uuid
from typing import Final

from runtime import metrics
from schemas.codec import Undecodable, UnknownSchemaId
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.records import Incoming, Outgoing
from schemas.topics import topic_named

STAGE: Final = "join"


def letter(record: Incoming, reason: Reason, *, now: int) -> Outgoing:
    """Return the dead letter of ``record`` for its topic's dead-letter topic; counted in the metrics.

    Its id is made from where the record stands, so a record that is read again after a crash yields the same letter.
    """
    metrics.REJECTED.labels(STAGE, reason.error_class.value).inc()
    place = f"goalpost:letter:{record.topic}:{record.partition}:{record.offset}"
    return letter_for(
        record,
        reason,
        topic=topic_named(record.topic).dead_letters,
        now_ms=now,
        letter_id=uuid.uuid5(uuid.NAMESPACE_URL, place),
    )


def undecodable(error: Undecodable, *, stage: Stage = Stage.DECODE) -> Reason:
    """Return the reason for a record that is none of its topic."""
    unknown = isinstance(error, UnknownSchemaId)
    error_class = ErrorClass.SCHEMA_UNKNOWN if unknown else ErrorClass.UNDECODABLE
    return Reason(error_class=error_class, stage=stage, message=error.reason, exception=type(error).__name__)
