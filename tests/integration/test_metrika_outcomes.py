"""Other teams hear of every outcome; failed conversions become dead letters with the record as it was."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import CONVERSION_OUTCOMES, RESOLVED_CONVERSIONS
from schemas.events import Conversion, Outcome
from schemas.records import Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, OUTCOMES
from sinks.metrika.publisher import Broker, Publisher
from sinks.metrika.tables import outbox
from tests.integration.metrika_world import World, end, eventually, world


@pytest.fixture(name="here")
def _here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        yield made


def _read(here: World, topic: str) -> list[Incoming]:
    """All records of a topic, in the order of each partition."""
    client = kafka.consumer(here.stack.kafka_bootstrap_servers, group=f"test-{uuid.uuid4()}", client_id="test")
    try:
        ends = kafka.end_offsets(client, topic, kafka.partitions_of(client, topic))
        client.assign([TopicPartition(topic, partition, 0) for partition in ends])
        return _read_up_to(client, ends)
    finally:
        client.close()


def _read_up_to(client: Consumer, ends: dict[int, int]) -> list[Incoming]:
    found: list[Incoming] = []
    deadline = time.monotonic() + 20
    while len(found) < sum(ends.values()):  # these topics are never compacted in a test's lifetime
        assert time.monotonic() < deadline
        message = client.poll(0.5)
        if message is not None:
            found.append(kafka.incoming(message))
    return found


def _outcomes(here: World, ids: set[str]) -> list[Outcome]:
    codec = Registry(here.stack.schema_registry_url).codec(CONVERSION_OUTCOMES)
    return [
        codec.decode(record.value)
        for record in _read(here, OUTCOMES.name)
        if (record.key or b"").decode("utf-8", "replace") in ids
    ]


def _letters(here: World, ids: set[str]) -> list[Incoming]:
    return [one for one in _read(here, CONVERSIONS.dead_letters) if header(one.headers, "event_id") in ids]


def _told(here: World) -> None:
    """Wait until nothing is left to tell."""
    eventually(lambda: here.value("SELECT count(*) FROM outcome_outbox"), lambda left: left == 0)


def _produce(here: World, event_id: str) -> Incoming:
    """Put a conversion on its topic, as the join does, and return it as it stands there."""
    codec = Registry(here.stack.schema_registry_url).codec(RESOLVED_CONVERSIONS)
    conversion = Conversion(
        event_id=event_id,
        webhook_id=str(uuid.UUID(int=1)),
        counter_id=str(here.counter),
        metrika_counter_id=here.number,
        source="generic",
        received_at=1,
        occurred_at=1,
        resolved_at=1,
        session_missing=False,
        creates_row=True,
        target="metrika_refuses",
        price=Decimal("1.0000"),
        deadline_at=1,
        payload='{"original": true}',
        goal_rule="default",
        rules_changed_at=1,
        attempts=0,
        raw_partition=0,
        raw_offset=0,
    )
    record = Outgoing(
        topic=CONVERSIONS.name,
        key=f"e:{event_id}".encode(),
        value=codec.encode(conversion),
        headers=(("event_id", event_id.encode()), ("trace", b"\x00\xff")),
    )
    kafka.Sender(kafka.producer(here.stack.kafka_bootstrap_servers, client_id="test")).send([record])
    return next(one for one in _read(here, CONVERSIONS.name) if header(one.headers, "event_id") == event_id)


def test_each_conversion_is_accepted_and_then_processed(here: World) -> None:
    ids = here.store(3)
    with here.sink():
        assert here.until_settled() == {"processed": 3}
        _told(here)
    told = _outcomes(here, set(ids))
    for event_id in ids:
        mine = [one for one in told if one.event_id == event_id]
        assert [one.outcome for one in mine] == ["accepted", "processed"]
        assert {one.metrika_upload_id for one in mine} == {"1"}
        assert {one.metrika_counter_id for one in mine} == {here.number}
        assert mine[0].order_id is not None


def test_a_refused_conversion_becomes_a_dead_letter_with_its_record_untouched(here: World) -> None:
    (event_id,) = here.store(target="metrika_refuses")
    original = _produce(here, event_id)
    here.query(
        "UPDATE webhook_conversions SET conversion_partition = %s, conversion_offset = %s RETURNING id",
        original.partition,
        original.offset,
    )
    with here.sink():
        assert here.until_settled() == {"failed": 1}
        _told(here)
    (letter,) = _letters(here, {event_id})
    assert (letter.key, letter.value, letter.headers[:2]) == (original.key, original.value, original.headers)
    assert header(letter.headers, "dlq.error.class") == "metrika_rejected"
    assert header(letter.headers, "dlq.effects.done") == "row"
    assert header(letter.headers, "dlq.original.offset") == str(original.offset)
    (outcome,) = _outcomes(here, {event_id})
    assert (outcome.outcome, outcome.error_class) == ("failed", "metrika_rejected")


@pytest.mark.parametrize("offset", [10**12, 0, None])
def test_a_record_that_is_gone_or_another_one_is_rebuilt_from_postgres(here: World, offset: int | None) -> None:
    somebody_else = _produce(here, str(uuid.uuid4()))
    partition = None if offset is None else somebody_else.partition
    (event_id,) = here.store(deadline_in=-1, client_id="77", partition=partition, offset=offset)
    with here.sink():
        assert here.until_settled() == {"failed": 1}
        _told(here)
    (letter,) = _letters(here, {event_id})
    rebuilt = Registry(here.stack.schema_registry_url).codec(RESOLVED_CONVERSIONS).decode(letter.value)
    assert (rebuilt.event_id, rebuilt.client_id, rebuilt.payload) == (event_id, "77", '{"note": 1}')
    assert (letter.key, header(letter.headers, "dlq.error.class")) == (b"u:77", "expired")


def test_while_kafka_is_down_uploads_go_on_and_outcomes_wait(here: World) -> None:
    ids = here.store(3)
    with here.sink(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9", SCHEMA_REGISTRY_URL="http://127.0.0.1:9") as process:
        assert here.until_settled() == {"processed": 3}
        eventually(lambda: here.log, lambda log: "outcomes.waiting" in log)
        assert end(process) == 0
    assert here.value("SELECT count(*) FROM outcome_outbox") == 6
    with here.sink():
        _told(here)
    assert sorted(one.outcome for one in _outcomes(here, set(ids))) == ["accepted"] * 3 + ["processed"] * 3


def test_a_publisher_whose_place_another_one_has_taken_forgets_what_stood_in_its_way(here: World) -> None:
    connections = [psycopg.connect(here.database_url, autocommit=True) for _ in range(2)]
    publisher = Publisher(connect=lambda: connections[1], broker=_no_broker, now_ms=lambda: 0)
    publisher.obstacle = "OperationalError: the server was away"
    with connections[0]:
        assert outbox.hold(connections[0])
        running = threading.Thread(target=publisher.run)
        running.start()
        eventually(lambda: publisher.obstacle, lambda obstacle: obstacle == "")
        publisher.finish()
        running.join()


def _no_broker() -> Broker:
    raise AssertionError("the other one publishes")


def test_killed_publishers_forget_no_outcome(here: World) -> None:
    ids = here.store(200)
    for kills in range(1, 4):
        with here.sink() as process:
            here.until_ready(start=kills)
            process.kill()
            process.wait()
    with here.sink():
        assert here.until_settled() == {"processed": 200}
        _told(here)
    told = {(one.event_id, one.outcome) for one in _outcomes(here, set(ids))}
    assert told == {(event_id, outcome) for event_id in ids for outcome in ("accepted", "processed")}
