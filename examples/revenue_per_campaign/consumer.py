"""Another team's service: keeps revenue per campaign, from goalpost's topic and the site's own table.

    pip install confluent-kafka fastavro requests "psycopg[binary]"
    KAFKA_BOOTSTRAP_SERVERS=... SCHEMA_REGISTRY_URL=... DATABASE_URL=... python consumer.py

It shows the whole of what a consumer owes: at-least-once delivery is made exact by a table keyed by event_id; offsets
are committed after the rows; a crash anywhere repeats work and changes no sum.
"""

import io
import json
import os
import signal
import sys
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import psycopg
import requests
from confluent_kafka import Consumer, Message
from fastavro.types import Schema

TOPIC = "crm.conversions"
BATCH = 500
UNKNOWN = "(unknown)"
# What fastavro raises for bytes that are no record of the schema.
UNREADABLE = (ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError)

# The campaign is the site's knowledge: it stands in the session that goalpost has found for the conversion.
CAMPAIGN = "SELECT analytics_data #>> '{utm,utm_campaign}' FROM user_analytics WHERE id::text = %s"
# The first record of a sale counts. A later one may know the session, and so the campaign, that the first one did not.
SALE = """
INSERT INTO marketing.sales (event_id, campaign, currency, price, sold_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (event_id) DO UPDATE SET campaign = excluded.campaign WHERE sales.campaign = '(unknown)'
"""


def main() -> None:
    stopping: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": "marketing-revenue-per-campaign",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(Path(__file__).with_name("revenue.sql").read_text())
        database.commit()
        consumer.subscribe([TOPIC])
        try:
            while not stopping:
                messages = consumer.consume(BATCH, timeout=0.5)
                if messages:
                    values = [value_of(message) for message in messages]
                    keep(database, [value for value in values if value is not None])
                    consumer.commit(asynchronous=False)
        finally:
            consumer.close()


def value_of(message: Message) -> Any:
    if message.error():
        raise SystemExit(f"Kafka: {message.error()}")
    try:
        return decoded(message.value() or b"")
    except UNREADABLE as error:  # whatever a topic holds, it must not stop the line
        print(f"skipped {message.partition()}:{message.offset()}: {error}", file=sys.stderr)
        return None


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


def keep(database: "psycopg.Connection[Any]", conversions: list[dict[str, Any]]) -> None:
    with database.transaction():
        for conversion in conversions:
            sold_at: datetime = conversion["occurred_at"]
            sale = (
                conversion["event_id"],
                campaign_of(database, conversion["row_id"]),
                conversion["currency"] or "RUB",
                conversion["price"],
                sold_at,
            )
            database.execute(SALE, sale)


def campaign_of(database: "psycopg.Connection[Any]", row_id: str | None) -> str:
    found = database.execute(CAMPAIGN, (row_id,)).fetchone() if row_id else None
    return (found[0] if found else None) or UNKNOWN


if __name__ == "__main__":
    main()
