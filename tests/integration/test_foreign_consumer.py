"""Another team reads our topics with confluent-kafka's own deserializer and the registry alone, without our code."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from goalpost.cluster import records
from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import CONTRACTS, Contract
from schemas.records import Outgoing
from tests.unit.schemas.examples import Example, examples, has_schema, record_of

GOOD = [example for example in examples("good_") if has_schema(example)]


@pytest.fixture(scope="module")
def sender(stack: Addresses) -> kafka.Sender:
    return kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-foreign-consumer"))


@pytest.fixture
def foreign(stack: Addresses) -> Iterator[Consumer]:
    client = Consumer({"bootstrap.servers": stack.kafka_bootstrap_servers, "group.id": str(uuid.uuid4())})
    yield client
    client.close()


def _contract(topic: str) -> Contract[Any]:
    return next(contract for contract in CONTRACTS if contract.topic.name == topic)


def _of_its_own(record: Any) -> Any:
    """Give the example an id that no other test has."""
    name = next(name for name in ("event_id", "webhook_id", "session_id") if name in type(record).__slots__)
    return replace(record, **{name: str(uuid.uuid4())})


def _as_read_elsewhere(value: Any) -> Any:
    """Write times as our dataclasses have them; Avro libraries turn them into datetimes."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, dict):
        return {key: _as_read_elsewhere(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_read_elsewhere(item) for item in value]
    return value


@pytest.mark.parametrize("example", GOOD, ids=str)
def test_a_record_of_every_topic_is_read_by_the_registry_alone(
    example: Example, stack: Addresses, sender: kafka.Sender, foreign: Consumer
) -> None:
    contract = _contract(example.topic)
    record = _of_its_own(record_of(example))
    key = uuid.uuid4().bytes
    value = Registry(stack.schema_registry_url).codec(contract).encode(record)
    sender.send([Outgoing(topic=example.topic, key=key, value=value)])
    place = next(found for found in records(stack.kafka_bootstrap_servers, [example.topic]) if found.key == key)

    foreign.assign([TopicPartition(example.topic, place.partition, place.offset)])
    message = foreign.poll(20)
    assert message is not None
    assert message.error() is None
    with SchemaRegistryClient({"url": stack.schema_registry_url}) as registry:
        read = AvroDeserializer(registry)(message.value(), SerializationContext(example.topic, MessageField.VALUE))

    assert _as_read_elsewhere(read) == _as_read_elsewhere(asdict(record))
