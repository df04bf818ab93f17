"""A consumer written from asyncapi.yaml and the registry alone decodes every topic; none of our code helps it."""

from __future__ import annotations

import io
import json
import struct
import time
import uuid
from pathlib import Path
from typing import Any, Final

import fastavro
import pytest
import requests
import yaml
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.records import Outgoing
from tests.unit.schemas.examples import contract_of, examples, has_schema, record_of

DOCUMENT: Final = yaml.safe_load((Path(__file__).parents[2] / "asyncapi.yaml").read_text(encoding="utf-8"))
MARK: Final = "asyncapi-test"
SECONDS: Final = 30.0
SCHEMA_TOPICS: Final = [name for name in DOCUMENT["channels"] if "payload" in DOCUMENT["components"]["messages"][name]]


class Stranger:
    """Reads one channel as the document says: address, where the schema's id stands, what the value looks like."""

    def __init__(self, stack: Addresses, channel: str) -> None:
        self._registry = stack.schema_registry_url
        self._channel = DOCUMENT["channels"][channel]
        self._message = DOCUMENT["components"]["messages"][channel]
        self._consumer = Consumer({"bootstrap.servers": stack.kafka_bootstrap_servers, "group.id": str(uuid.uuid4())})

    def value_with(self, mark: str) -> Any:
        """The decoded value of the first record with the header ``mark``."""
        partitions = range(self._channel["bindings"]["kafka"]["partitions"])
        address = self._channel["address"]
        self._consumer.assign([TopicPartition(address, partition, OFFSET_BEGINNING) for partition in partitions])
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for message in self._consumer.consume(500, timeout=0.5):
                assert message.error() is None
                if (MARK, mark.encode()) in (message.headers() or []):
                    self._consumer.close()
                    return self._decoded(message.value())
        pytest.fail(f"{address} has no such record")

    def _decoded(self, value: bytes | None) -> Any:
        assert self._message["bindings"]["kafka"]["schemaIdLocation"] == "payload"
        assert self._message["bindings"]["kafka"]["schemaIdPayloadEncoding"] == "confluent"
        assert value is not None
        _zero, schema_id = struct.unpack_from(">bI", value)
        writer = requests.get(f"{self._registry}/schemas/ids/{schema_id}", timeout=10).json()["schema"]
        return fastavro.schemaless_reader(
            io.BytesIO(value[5:]),
            fastavro.parse_schema(json.loads(writer)),
            fastavro.parse_schema(self._message["payload"]["schema"]),
        )


@pytest.mark.parametrize("channel", SCHEMA_TOPICS)
def test_a_stranger_reads_what_the_document_promises(stack: Addresses, channel: str) -> None:
    example = next(one for one in examples("good_") if one.topic == channel and has_schema(one))
    codec = Registry(stack.schema_registry_url).codec(contract_of(channel))
    mark = uuid.uuid4().hex
    kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-asyncapi")).send(
        [
            Outgoing(
                topic=channel,
                key=str(uuid.uuid4()).encode(),
                value=codec.encode(record_of(example)),
                headers=((MARK, mark.encode()),),
            )
        ]
    )

    value = Stranger(stack, channel).value_with(mark)

    promised = next(
        one["payload"]
        for one in DOCUMENT["components"]["messages"][channel]["examples"]
        if one["name"] == example.name.removeprefix("good_")
    )
    assert set(value) == set(promised)
    texts = {name for name, content in promised.items() if isinstance(content, str) and isinstance(value[name], str)}
    assert texts
    assert {name: value[name] for name in texts} == {name: promised[name] for name in texts}
