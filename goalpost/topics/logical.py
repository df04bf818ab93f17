"""How `goalpost topics read` shows Avro's times and decimals: ISO 8601, and text.

Not as Python's own types: a time may lie in the year 292 million, and a number of a megabyte takes hours to become a
decimal. fastavro's documented way of reading a logical type of one's own is to name it and register a function.

Source: Avro specification, "Logical Types"; fastavro documentation, "Custom Logical Types".
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import fastavro

from goalpost.moment import iso

# A hundred digits; what is longer is shown as bytes.
_LARGEST_DECIMAL_BYTES: Final = 42
_MOST_PLACES: Final = 1000

_DECIMAL: Final = "goalpost-decimal"
_MILLIS: Final = "goalpost-millis"
_MICROS: Final = "goalpost-micros"
_OURS: Final = {"decimal": _DECIMAL, "timestamp-millis": _MILLIS, "timestamp-micros": _MICROS}


def as_shown(schema: Any) -> Any:
    """Return a schema with the logical types that are shown under our names, and without all others."""
    if isinstance(schema, list):
        return [as_shown(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: as_shown(value) for key, value in schema.items() if key != "logicalType"}
    named = _OURS.get(str(schema.get("logicalType")))
    return kept if named is None else {**kept, "logicalType": named}


def _decimal(data: bytes, writer_schema: Any, _reader_schema: Any = None) -> str | bytes:
    scale = writer_schema.get("scale", 0)
    if len(data) > _LARGEST_DECIMAL_BYTES or not isinstance(scale, int) or not 0 <= scale <= _MOST_PLACES:
        return data
    unscaled = int.from_bytes(data, "big", signed=True)
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    return str(Decimal((int(unscaled < 0), digits, -scale)))


def _millis(data: int, _writer_schema: Any, _reader_schema: Any = None) -> str:
    return iso(data)


def _micros(data: int, _writer_schema: Any, _reader_schema: Any = None) -> str:
    return iso(data // 1000)


fastavro.read.LOGICAL_READERS.update(
    {
        f"bytes-{_DECIMAL}": _decimal,
        f"fixed-{_DECIMAL}": _decimal,
        f"long-{_MILLIS}": _millis,
        f"long-{_MICROS}": _micros,
    }
)
