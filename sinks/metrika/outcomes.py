"""What other teams are told: the outcome of a conversion and, when it failed, its dead letter."""

from __future__ import annotations

import uuid

from schemas.codec import Codec
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.events import Conversion, EpochMillis, Outcome
from schemas.identity import EVENT_PREFIX, session_key, visitor_key
from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, Headers, Incoming, Outgoing
from schemas.topics import CONVERSIONS, OUTCOMES
from sinks.metrika.tables.outbox import News

FAILED = "failed"


def outcome_record(news: News, conversion: Conversion, codec: Codec[Outcome]) -> Outgoing:
    """Return the record of ``crm.conversions.outcomes``."""
    outcome = Outcome(
        event_id=news.event_id,
        webhook_id=conversion.webhook_id,
        metrika_counter_id=conversion.metrika_counter_id,
        outcome=news.outcome,
        target=conversion.target,
        at=news.at,
        order_id=conversion.order_id,
        metrika_upload_id=news.metrika_upload_id,
        error_class=news.error_class,
        message=news.error_message,
    )
    return Outgoing(
        topic=OUTCOMES.name,
        key=news.event_id.encode(),
        value=codec.encode(outcome),
        headers=_headers(conversion),
    )


def rebuilt(news: News, conversion: Conversion, codec: Codec[Conversion]) -> Incoming:
    """Return the conversion's record as far as Postgres remembers it, for when the topic no longer has it."""
    return Incoming(
        topic=CONVERSIONS.name,
        partition=news.conversion_partition if news.conversion_partition is not None else -1,
        offset=news.conversion_offset if news.conversion_offset is not None else -1,
        timestamp=conversion.received_at,
        key=_key(conversion),
        value=codec.encode(conversion),
        headers=_headers(conversion),
    )


def dead_letter(news: News, original: Incoming, *, now_ms: EpochMillis) -> Outgoing:
    """Return the dead letter. Its id follows from the news, so that a repeat after a crash is known as one."""
    reason = Reason(
        error_class=ErrorClass(news.error_class or ErrorClass.METRIKA_REJECTED),
        stage=Stage.UPLOAD,
        message=news.error_message or "",
        effects_done="row",
        metrika_upload_id=news.metrika_upload_id,
        upload_batch_id=news.upload_batch_id,
    )
    letter_id = uuid.uuid5(uuid.UUID(news.event_id), f"outcome:{news.id}")
    return letter_for(original, reason, topic=CONVERSIONS.dead_letters, now_ms=now_ms, letter_id=letter_id)


def _headers(conversion: Conversion) -> Headers:
    return (
        (EVENT_ID_HEADER, conversion.event_id.encode()),
        (WEBHOOK_ID_HEADER, conversion.webhook_id.encode()),
    )


def _key(conversion: Conversion) -> bytes:
    if conversion.session_id is not None:
        return session_key(conversion.session_id)
    if conversion.client_id is not None:
        return visitor_key(conversion.client_id)
    return f"{EVENT_PREFIX}{conversion.event_id}".encode()
