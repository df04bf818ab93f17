"""The same join without Faust, as a plain confluent-kafka loop: ``python -m tests.bench.plain_join``.

What a good engineer would write for speed: fastavro on plain dictionaries, sessions in RocksDB (ids only), asked for
once per batch, an idempotent producer, and offsets that are committed after the delivery of what follows from them.
It leaves out what the benchmark does not need: late sessions, dead letters, rebalances, health, metrics.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import fastavro
import orjson
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from rocksdict import Options, Rdict, WriteBatch

from runtime import kafka
from runtime.registry import Registry
from schemas import codec
from schemas.contracts import RAW_EVENTS, RESOLVED_CONVERSIONS, WEB_SESSIONS, Contract
from schemas.topics import SESSIONS
from tests.bench.material import WEBHOOK
from tests.bench.processes import READY_LINE

RAW_TOPIC: Final = "bench.plain.raw"
CONVERSIONS_TOPIC: Final = "bench.plain.conversions"

_BATCH: Final = 2000
_PREFIX_BYTES: Final = 5
_LINKABLE_MS: Final = (21 * 24 - 2 - 6) * 3600 * 1000

Fields = dict[str, Any]


class Avro:
    """One schema's values as dictionaries, in the wire format."""

    def __init__(self, contract: Contract[Any], registry: Registry) -> None:
        self._schema = codec.parse(contract.schema_text)
        self._prefix = codec.frame(registry.register(contract.topic.subject, contract.schema_text), b"")

    def decode(self, value: bytes) -> Fields:
        """Return the fields; a value of another schema is an error."""
        if value[:_PREFIX_BYTES] != self._prefix:
            raise ValueError("a record with another schema")
        return fastavro.schemaless_reader(io.BytesIO(value[_PREFIX_BYTES:]), self._schema, None)  # type: ignore[return-value]  # a record is a dictionary

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """Return the value."""
        out = io.BytesIO()
        out.write(self._prefix)
        fastavro.schemaless_writer(out, self._schema, fields)
        return out.getvalue()


def conversion_of(event: Fields, session: Fields, *, partition: int, offset: int, now: int) -> Fields:
    """Return the conversion of an event whose session is known."""
    body = event["body"]
    return {
        "event_id": event["event_id"],
        "webhook_id": event["webhook_id"],
        "counter_id": WEBHOOK.counter_id,
        "metrika_counter_id": WEBHOOK.metrika_counter_id,
        "source": event["dialect"],
        "received_at": event["received_at"],
        "occurred_at": event["occurred_at"],
        "resolved_at": now,
        "session_id": session["session_id"],
        "session_missing": False,
        "row_id": session["row_id"],
        "creates_row": session["creates_row"],
        "session_at": session["session_at"],
        "client_id": event["ym_uid"] or session["ym_uid"],
        "yclid": event["yclid"] or session["yclid"],
        "user_id": event["user_id"] or session["user_id"],
        "purchase_id": event["purchase_id"],
        "target": event["goal_name"] or WEBHOOK.default_goal,
        "price": event["goal_value"] if event["goal_value"] is not None else Decimal(0),
        "currency": event["currency"] or WEBHOOK.default_currency,
        "order_id": event["order_id"],
        "deadline_at": session["last_visit_at"] + _LINKABLE_MS,
        "payload": event["payload"] if event["payload"] is not None else body.decode("utf-8", "replace"),
        "goal_rule": "payload" if event["goal_name"] else "default",
        "rules_changed_at": WEBHOOK.changed_at,
        "attempts": 0,
        "raw_partition": partition,
        "raw_offset": offset,
    }


class PlainJoin:
    """The loop."""

    def __init__(self, bootstrap_servers: str, registry: Registry, folder: Path) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._consumer: Consumer = kafka.consumer(bootstrap_servers, group="bench-plain", client_id="bench-plain")
        self._producer: Producer = kafka.producer(bootstrap_servers, client_id="bench-plain")
        self._sessions = Rdict(str(folder), Options(raw_mode=True))
        self._raw, self._session, self._conversion = (
            Avro(contract, registry) for contract in (RAW_EVENTS, WEB_SESSIONS, RESOLVED_CONVERSIONS)
        )
        self._failure: KafkaError | None = None

    def load_sessions(self) -> None:
        """Read ``web.sessions`` to its end into RocksDB."""
        reader = kafka.consumer(self._bootstrap_servers, group="bench-plain-sessions", client_id="bench-plain")
        partitions = kafka.partitions_of(reader, SESSIONS.name)
        left = sum(kafka.end_offsets(reader, SESSIONS.name, partitions).values())
        reader.assign([TopicPartition(SESSIONS.name, partition, 0) for partition in partitions])
        while left > 0:
            messages = reader.consume(5 * _BATCH, 1.0)
            batch = WriteBatch(raw_mode=True)
            for message in messages:
                fields = self._session.decode(_value(message))
                fields.pop("analytics_data")
                batch.put(_bytes(message.key()), orjson.dumps(fields))
            self._sessions.write(batch)
            left -= len(messages)
        reader.close()

    def run(self) -> None:
        """Join for ever."""
        self._consumer.subscribe([RAW_TOPIC])
        while True:
            messages = self._consumer.consume(_BATCH, 0.1)
            if messages:
                self._join(messages)

    def _join(self, messages: Sequence[Message]) -> None:
        events = [self._raw.decode(_value(message)) for message in messages]
        found = self._sessions.get([_key_of(event) for event in events]) or []
        now = time.time_ns() // 1_000_000
        for message, event, session in zip(messages, events, found, strict=True):
            if session is None:
                raise LookupError("the benchmark has a session for every event")
            partition, offset = message.partition() or 0, message.offset() or 0
            fields = conversion_of(event, orjson.loads(session), partition=partition, offset=offset, now=now)
            self._produce(message, fields)
        self._producer.flush()
        if self._failure is not None:
            raise RuntimeError(str(self._failure))
        ends = {message.partition() or 0: (message.offset() or 0) + 1 for message in messages}
        done = [TopicPartition(RAW_TOPIC, partition, end) for partition, end in ends.items()]
        self._consumer.commit(offsets=done, asynchronous=True)

    def _produce(self, message: Message, fields: Fields) -> None:
        headers = [("event_id", fields["event_id"].encode()), ("webhook_id", fields["webhook_id"].encode())]
        self._producer.produce(
            CONVERSIONS_TOPIC,
            key=message.key(),
            value=self._conversion.encode(fields),
            headers=headers,
            on_delivery=self._delivered,
        )

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        self._failure = self._failure or error


def _key_of(event: Fields) -> bytes:
    session_id = event["session_id"]
    return f"s:{session_id}".encode() if session_id else f"u:{event['ym_uid']}".encode()


def _value(message: Message) -> bytes:
    error = message.error()
    if error is not None:
        raise RuntimeError(str(error))
    return _bytes(message.value())


def _bytes(part: object) -> bytes:
    if not isinstance(part, bytes):
        raise TypeError("every record of the benchmark has a key and a value")
    return part


def main() -> None:
    """Load the sessions, say so, and join until SIGTERM."""
    join = PlainJoin(
        os.environ["KAFKA_BOOTSTRAP_SERVERS"], Registry(os.environ["SCHEMA_REGISTRY_URL"]), Path("plain-sessions")
    )
    join.load_sessions()
    print(READY_LINE)
    join.run()


if __name__ == "__main__":
    main()
