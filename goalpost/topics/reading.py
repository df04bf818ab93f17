"""``goalpost topics read``: the records of a topic as JSON lines, for looking, for jq and for a database's import.

Decoded with the schema that wrote each record, by the registry alone, so that what is shown is what other teams get.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import click
import fastavro
from fastavro.types import Schema

from goalpost.cluster import records
from goalpost.console import say_json
from goalpost.moment import Moment, iso
from goalpost.topics.logical import as_shown
from runtime.registry import Registry
from runtime.sections import KafkaSettings
from runtime.settings import load
from schemas.codec import WIRE_PREFIX_BYTES, Undecodable, framed_schema_id
from schemas.foreign import Inadmissible, admitted
from schemas.records import Incoming
from schemas.topics import TOPICS, topic_named

_SCHEMAS: Final = 256
_NAMES: Final = [topic.name for topic in TOPICS]


@click.command("read")
@click.argument("topic", type=click.Choice(_NAMES), metavar="TOPIC")
@click.option("--since", "since_ms", type=Moment(), default=0, help="2d, 36h or 2026-03-01T12:00; default: all.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many records.")
@click.option("--values", "values_only", is_flag=True, help="Only values that can be read: a table, row by row.")
def read(topic: str, since_ms: int, limit: int | None, values_only: bool) -> None:
    """Print the records of TOPIC, as many as there are now, one JSON object a line.

    Joins no consumer group and commits nothing. Times are ISO 8601, decimals are text, bytes are UTF-8 text where they
    can be, else hexadecimal. A record that cannot be decoded says so in "undecodable".

    \b
    goalpost topics read crm.conversions --values --since 1d > conversions.jsonl
    """
    (settings,) = load(KafkaSettings)
    decode = _decoder(Registry(settings.schema_registry_url), has_schema=topic_named(topic).schema is not None)
    found = records(settings.bootstrap_servers, [topic], since_ms=since_ms)
    for record in islice(found, limit):
        decoded = decode(record)
        if not values_only:
            say_json({**_envelope(record), **decoded})
        elif decoded.get("value") is not None:
            say_json(decoded["value"])


def _envelope(record: Incoming) -> dict[str, Any]:
    return {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": iso(record.timestamp),
        "key": _plain(record.key),
        "headers": {name: _plain(value) for name, value in record.headers},
    }


def _decoder(registry: Registry, *, has_schema: bool) -> Callable[[Incoming], dict[str, Any]]:
    """Return what makes fields of a record's value: ``value``, or ``undecodable`` and why."""

    @lru_cache(_SCHEMAS)
    def schema(text: str) -> Schema:
        return fastavro.parse_schema(as_shown(admitted(text, logical=True)))

    def decode(record: Incoming) -> dict[str, Any]:
        if record.value is None or not has_schema:
            return {"value": _plain(record.value)}
        try:
            writer = registry.schema(framed_schema_id(record.value))
        except Undecodable as exc:
            return {"undecodable": exc.reason}
        try:
            body = io.BytesIO(record.value[WIRE_PREFIX_BYTES:])
            return {"value": _plain(fastavro.schemaless_reader(body, schema(writer), None))}
        except Inadmissible as exc:
            return {"undecodable": f"its schema cannot be used: {exc}"}
        except Exception as exc:  # noqa: BLE001 - fastavro raises a dozen types on foreign bytes; each means the same
            return {"undecodable": type(exc).__name__}

    return decode


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON can say it."""
    match value:
        case bytes():
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                return value.hex()
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value
