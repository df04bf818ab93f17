"""Reads resolved conversions with confluent-kafka and the schema registry alone; nothing of goalpost is imported.

    pip install "confluent-kafka[avro,schemaregistry]"
    KAFKA_BOOTSTRAP_SERVERS=... SCHEMA_REGISTRY_URL=... python conversions.py my-team

Delivery is at least once: the same event_id may come again, so whatever is done with a conversion must be keyed by it.
The first counts; a later one with session_missing=false adds the session, which is of no interest here.
Here the ids are only remembered while the program runs; examples/revenue_per_campaign keeps them in a database.
"""

import os
import signal
import sys
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError

TOPIC = "crm.conversions"


def main(group: str) -> None:
    registry = SchemaRegistryClient({"url": os.environ["SCHEMA_REGISTRY_URL"]})
    decode = AvroDeserializer(registry)
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([TOPIC])
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    seen: set[str] = set()
    try:
        while not stopping:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error():
                raise SystemExit(f"Kafka: {message.error()}")
            try:
                show(decode(message.value(), SerializationContext(TOPIC, MessageField.VALUE)), seen)
            except SerializationError as error:  # whatever a topic holds, it must not stop the line
                print(f"skipped {message.partition()}:{message.offset()}: {error}", file=sys.stderr)
            # Only what has been dealt with is committed, so a crash repeats records and never loses one.
            consumer.commit(message=message, asynchronous=False)
    finally:
        consumer.close()


def show(conversion: dict[str, Any], seen: set[str]) -> None:
    if conversion["event_id"] not in seen:
        seen.add(conversion["event_id"])
        print(conversion["event_id"], conversion["target"], conversion["price"], conversion["currency"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "conversions-example")
