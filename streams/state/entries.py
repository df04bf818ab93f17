"""A waiting record as the store keeps it: key, value and headers untouched."""

from __future__ import annotations

import io
from typing import Any, Final

import fastavro

from schemas.records import Incoming
from schemas.topics import WAITING

_SCHEMA: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "WaitingRecord",
        "fields": [
            {"name": "partition", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "timestamp", "type": "long"},
            {
                "name": "headers",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Header",
                        "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": "bytes"}],
                    },
                },
            },
            {"name": "key", "type": ["null", "bytes"]},
            {"name": "value", "type": ["null", "bytes"]},
        ],
    }
)


def pack(record: Incoming) -> bytes:
    """Return ``record`` as bytes."""
    out = io.BytesIO()
    fields = {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "headers": [{"name": name, "value": value or b""} for name, value in record.headers],
        "key": record.key,
        "value": record.value,
    }
    fastavro.schemaless_writer(out, _SCHEMA, fields)
    # Behind the record: which headers have no value, as a set of bits. Nearly always nothing.
    absent = sum(1 << index for index, (_, value) in enumerate(record.headers) if value is None)
    return out.getvalue() + absent.to_bytes((absent.bit_length() + 7) // 8)


def unpack(packed: bytes) -> Incoming:
    """Return the record that :func:`pack` stored."""
    fields, absent = _read(packed)
    return Incoming(
        topic=WAITING.name,
        partition=fields["partition"],
        offset=fields["offset"],
        timestamp=fields["timestamp"],
        key=fields["key"],
        value=fields["value"],
        headers=tuple(
            (pair["name"], None if absent >> index & 1 else pair["value"])
            for index, pair in enumerate(fields["headers"])
        ),
    )


def _read(packed: bytes) -> tuple[dict[str, Any], int]:
    source = io.BytesIO(packed)
    fields = fastavro.schemaless_reader(source, _SCHEMA, None)
    if not isinstance(fields, dict):
        raise TypeError("a waiting record is stored as an Avro record")
    return fields, int.from_bytes(source.read())
