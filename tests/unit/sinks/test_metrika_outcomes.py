"""What other teams are told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from schemas.contracts import CONVERSION_OUTCOMES, RESOLVED_CONVERSIONS
from schemas.dead_letter import for_replay
from schemas.events import Conversion
from schemas.records import Incoming, header
from schemas.topics import CONVERSIONS, OUTCOMES
from sinks.metrika.outcomes import dead_letter, outcome_record, rebuilt
from sinks.metrika.tables.outbox import News

EVENT_ID = str(UUID(int=5))
OUTCOME_CODEC = CONVERSION_OUTCOMES.codec(schema_id=1, foreign_schema=str)
CONVERSION_CODEC = RESOLVED_CONVERSIONS.codec(schema_id=2, foreign_schema=str)


def conversion(**over: Any) -> Conversion:
    """A stored conversion."""
    values: dict[str, Any] = {
        "event_id": EVENT_ID,
        "webhook_id": str(UUID(int=1)),
        "counter_id": str(UUID(int=2)),
        "metrika_counter_id": 44147844,
        "source": "generic",
        "received_at": 1,
        "occurred_at": 1,
        "resolved_at": 1,
        "session_missing": False,
        "creates_row": False,
        "target": "crm_conversion",
        "price": Decimal("12.5000"),
        "deadline_at": 1,
        "payload": "{}",
        "goal_rule": "default",
        "rules_changed_at": 1,
        "attempts": 0,
        "raw_partition": 0,
        "raw_offset": 0,
    }
    return Conversion(**{**values, **over})


def news(**over: Any) -> News:
    """A failure to tell of."""
    values: dict[str, Any] = {
        "id": 9,
        "event_id": EVENT_ID,
        "outcome": "failed",
        "at": 1_700_000_000_000,
        "error_class": "metrika_rejected",
        "error_message": "HTTP 400 invalid_uploading",
        "metrika_upload_id": None,
        "conversion": conversion(),
        "conversion_partition": 3,
        "conversion_offset": 42,
    }
    return News(**{**values, **over})


def test_an_outcome_is_keyed_and_headed_by_its_event() -> None:
    record = outcome_record(news(), conversion(order_id="A-1"), OUTCOME_CODEC)
    told = OUTCOME_CODEC.decode(record.value)
    assert (record.topic, record.key, header(record.headers, "event_id")) == (
        OUTCOMES.name,
        EVENT_ID.encode(),
        EVENT_ID,
    )
    assert (told.outcome, told.order_id, told.error_class) == ("failed", "A-1", "metrika_rejected")
    assert told.message == "HTTP 400 invalid_uploading"


def test_a_dead_letter_carries_the_original_untouched_and_returns_to_where_it_came_from() -> None:
    original = Incoming(
        topic=CONVERSIONS.name, partition=3, offset=42, timestamp=1, key=b"s:1", value=b"bytes", headers=(("h", b"v"),)
    )
    letter = dead_letter(news(), original, now_ms=2)
    assert (letter.topic, letter.key, letter.value, letter.headers[0]) == (
        CONVERSIONS.dead_letters,
        b"s:1",
        b"bytes",
        ("h", b"v"),
    )
    assert header(letter.headers, "dlq.effects.done") == "row"
    assert header(letter.headers, "dlq.error.class") == "metrika_rejected"
    again = for_replay(
        Incoming(
            topic=letter.topic,
            partition=0,
            offset=0,
            timestamp=2,
            key=letter.key,
            value=letter.value,
            headers=letter.headers,
        )
    )
    assert (again.topic, again.key, again.value) == (CONVERSIONS.name, b"s:1", b"bytes")


def test_a_repeat_of_a_dead_letter_after_a_crash_has_the_same_id() -> None:
    original = rebuilt(news(), conversion(), CONVERSION_CODEC)
    ids = {header(dead_letter(news(), original, now_ms=now).headers, "dlq.id") for now in (1, 2)}
    assert len(ids) == 1


def test_a_conversion_that_retention_deleted_is_rebuilt_under_its_own_key() -> None:
    for stored, key in (
        (conversion(session_id="abc", client_id="1"), b"s:abc"),
        (conversion(client_id="1"), b"u:1"),
        (conversion(), f"e:{EVENT_ID}".encode()),
    ):
        record = rebuilt(news(), stored, CONVERSION_CODEC)
        assert (record.key, record.partition, record.offset) == (key, 3, 42)
        assert CONVERSION_CODEC.decode(record.value) == stored
        assert header(record.headers, "event_id") == EVENT_ID
