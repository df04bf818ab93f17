"""Reads resolved conversions with confluent-kafka, fastavro and requests alone; nothing of goalpost is imported.

    pip install confluent-kafka fastavro requests
    KAFKA_BOOTSTRAP_SERVERS=... SCHEMA_REGISTRY_URL=... python conversions.py my-team

Delivery is at least once: the same event_id may come again, so whatever is done with a conversion must be keyed by it.
The first counts; a later one with session_missing=false adds the session, which is of no interest here.
Here the ids are only remembered while the program runs; examples/revenue_per_campaign keeps them in a database.
"""

import io
import json
import os
import signal
import sys
from functools import cache
from typing import Any

import fastavro
import requests
from confluent_kafka import Consumer
from fastavro.types import Schema

TOPIC = "crm.conversions"
# What fastavro raises for bytes that are no record of the schema.
UNREADABLE = (ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError)


def main(group: str) -> None:
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
                show(decoded(message.value() or b""), seen)
            except UNREADABLE as error:  # whatever a topic holds, it must not stop the line
                print(f"skipped {message.partition()}:{message.offset()}: {error}", file=sys.stderr)
            # Only what has been dealt with is committed, so a crash repeats records and never loses one.
            consumer.commit(message=message, asynchronous=False)
    finally:
        consumer.close()


def decoded(value: bytes) -> Any:
    """The Confluent wire format: a zero byte, the schema's id in four bytes, the Avro body."""
    if value[:1] != b"\0" or len(value) < 5:
        raise ValueError("not the Confluent wire format")
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), schema(int.from_bytes(value[1:5])), None)


@cache
def schema(schema_id: int) -> Schema:
    """The schema that a record was written with. A registry that is away is an outage, and ends the program."""
    answer = requests.get(f"{os.environ['SCHEMA_REGISTRY_URL']}/schemas/ids/{schema_id}", timeout=10)
    if answer.status_code == 404:
        raise ValueError(f"the registry has no schema {schema_id}")
    answer.raise_for_status()
    return fastavro.parse_schema(json.loads(answer.json()["schema"]))


def show(conversion: dict[str, Any], seen: set[str]) -> None:
    if conversion["event_id"] not in seen:
        seen.add(conversion["event_id"])
        print(conversion["event_id"], conversion["target"], conversion["price"], conversion["currency"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "conversions-example")
