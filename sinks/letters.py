"""Dead letters of a sink: what is refused, and the same letter again when the same record is read again."""

from __future__ import annotations

from runtime.breaker import Reject, reject
from schemas.codec import Undecodable, UnknownSchemaId
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.identity import letter_id_for
from schemas.records import Incoming, Outgoing
from schemas.topics import SESSIONS, topic_named
from sinks.contract import Refused


def letter_of(refused: Refused, *, now_ms: int, group: str) -> Outgoing:
    """Return the letter for its topic's dead-letter topic."""
    record = refused.record
    return letter_for(
        record,
        refused.reason,
        topic=topic_named(record.topic).dead_letters,
        now_ms=now_ms,
        letter_id=letter_id_for(record),
        group=group,
    )


def undecodable(record: Incoming, error: Undecodable) -> Refused:
    """Return the refusal of a record that is none of its topic."""
    unknown = isinstance(error, UnknownSchemaId)
    reason = Reason(
        error_class=ErrorClass.SCHEMA_UNKNOWN if unknown else ErrorClass.UNDECODABLE,
        stage=Stage.DECODE,
        message=error.reason,
        exception=type(error).__name__,
    )
    return Refused(record=record, reason=reason)


def reject_of(refused: Refused) -> Reject:
    """Return whose record is refused. Sessions have no webhook; together they are one sender."""
    record = refused.record
    otherwise = {"otherwise": record.topic} if record.topic == SESSIONS.name else {}
    return reject(record.headers, refused.reason.error_class, **otherwise)
