"""``goalpost trace`` on a real broker and database: whatever is asked for, the whole way is found."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from goalpost.cli import main
from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import RAW_EVENTS
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.events import RawEvent
from schemas.records import Headers, Incoming, Outgoing
from schemas.topics import RAW, WAITING
from sinks.postgres.writer import Writer
from tests.sink_material import conversion, fresh_database, opened, placed, register_webhook
from tests.unit.schemas.examples import examples, record_of

NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def database(stack: Addresses) -> Iterator[str]:
    with fresh_database(stack.database_url) as url:
        yield url


@pytest.fixture(scope="module")
def sender(stack: Addresses) -> kafka.Sender:
    return kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-trace"))


def _trace(stack: Addresses, database: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": database,
    }
    answer = CliRunner().invoke(main, ["trace", "--json", *arguments], env=environment, catch_exceptions=False)
    content: dict[str, Any] = json.loads(answer.stdout)
    return answer.exit_code, content


def _event() -> RawEvent:
    example = next(example for example in examples("good_session") if example.topic == RAW.name)
    event: RawEvent = record_of(example)
    return replace(event, event_id=str(uuid.uuid4()), order_id=f"order-{uuid.uuid4()}")


def _raw_record(stack: Addresses, event: RawEvent) -> Outgoing:
    value = Registry(stack.schema_registry_url).codec(RAW_EVENTS).encode(event)
    headers = (("event_id", event.event_id.encode()), ("webhook_id", event.webhook_id.encode()))
    return Outgoing(topic=RAW.name, key=event.event_id.encode(), value=value, headers=headers)


def _waiting(raw: Outgoing, *, attempt: int) -> Outgoing:
    headers: Headers = (("waiting.attempt", str(attempt).encode()), ("waiting.due", str(NOW_MS + 60_000).encode()))
    return replace(raw, topic=WAITING.name, headers=raw.headers + headers)


def test_an_event_that_waits_is_found_by_its_id_and_by_its_order(
    stack: Addresses, database: str, sender: kafka.Sender
) -> None:
    event = _event()
    raw = _raw_record(stack, event)
    sender.send([raw])
    sender.send([_waiting(raw, attempt=1)])

    for asked in (event.event_id, str(event.order_id)):
        code, found = _trace(stack, database, asked)
        (way,) = found["events"]
        assert code == 0
        assert (way["event_id"], way["state"]) == (event.event_id, "waiting")
        assert [step["what"] for step in way["steps"]] == ["received", "waiting"]


def test_a_dead_letter_of_an_order_is_found(stack: Addresses, database: str, sender: kafka.Sender) -> None:
    event = _event()
    raw = _raw_record(stack, event)
    record = Incoming(
        topic=RAW.name, partition=1, offset=2, timestamp=NOW_MS, key=raw.key, value=raw.value, headers=raw.headers
    )
    reason = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.JOIN, message="no session came")
    sender.send([letter_for(record, reason, topic=RAW.dead_letters, now_ms=NOW_MS, letter_id=uuid.uuid4())])

    _code, found = _trace(stack, database, str(event.order_id))

    (way,) = found["events"]
    assert way["state"] == "dead_lettered"
    assert way["steps"][-1]["detail"] == "session_not_found at join: no session came"


def test_a_stored_event_is_found_by_id_order_upload_and_token(stack: Addresses, database: str) -> None:
    upload, metrika_id = uuid.uuid4(), str(uuid.uuid4().int)[:10]
    token = f"goalpost{upload.hex}"
    with opened(database) as connection:
        stored = conversion(register_webhook(connection), order_id=f"order-{upload}", received_at=NOW_MS)
        Writer(connection).write(placed(stored))
        connection.execute(
            """
            INSERT INTO metrika_uploads (id, counter_id, id_type, token, state, row_count, body_sha256,
                                         metrika_upload_id, line_quantity, linked_quantity)
            VALUES (%s, %s, 'ClientId', %s, 'processed', 1, '', %s, 1, 1)
            """,
            (upload, stored.counter_id, token, metrika_id),
        )
        for stage, status, known_as in (
            ("batched", "pending", None),
            ("uploaded", "sent", metrika_id),
            ("processed", "sent", metrika_id),
        ):
            connection.execute(
                """
                UPDATE webhook_conversions SET stage = %s, status = %s, metrika_upload_id = %s, upload = %s
                WHERE id = %s
                """,
                (stage, status, known_as, upload, stored.event_id),
            )

    for asked in (stored.event_id, stored.order_id, metrika_id, token, str(upload)):
        code, found = _trace(stack, database, str(asked))
        (way,) = found["events"]
        assert code == 0, asked
        assert (way["event_id"], way["state"]) == (stored.event_id, "processed")
        assert [step["what"] for step in way["steps"]][-3:] == ["batched", "uploaded", "processed"]
        assert way["row"]["upload"]["metrika_upload_id"] == metrika_id


def test_what_nobody_knows_is_said_to_be_unknown(stack: Addresses, database: str) -> None:
    code, found = _trace(stack, database, str(uuid.uuid4()))

    assert (code, found["events"]) == (1, [])


def test_the_search_is_bounded_by_since(stack: Addresses, database: str, sender: kafka.Sender) -> None:
    event = _event()
    sender.send([_raw_record(stack, event)])

    _code, found = _trace(stack, database, event.event_id, "--since", "2100-01-01")

    assert found["events"] == []
