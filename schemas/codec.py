"""Avro in the Confluent wire format: one zero byte, the schema id as four big-endian bytes, then the Avro body.

Pure: schema ids and foreign schemas are handed in, so nothing here talks to a registry.
Source of the framing: Confluent Schema Registry documentation, "Wire format".
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import fields
from importlib import resources
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

import fastavro
from fastavro.types import Schema

from schemas.decimals import scales_of

_MAGIC: Final = 0
_FRAME: Final = struct.Struct(">bI")

T = TypeVar("T")
SchemaText = str


class Undecodable(Exception):
    """The bytes are not a record of this topic. ``reason`` says why, without quoting the content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownSchemaId(Undecodable):
    """The registry answers that it has no schema with the id that the record names."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"the registry has no schema with id {schema_id}")
        self.schema_id = schema_id


def schema_text(file_name: str) -> SchemaText:
    """Return the Avro schema stored in ``schemas/avro/<file_name>`` as canonical JSON text."""
    text = resources.files("schemas").joinpath("avro", file_name).read_text(encoding="utf-8")
    return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))


def frame(schema_id: int, body: bytes) -> bytes:
    """Put the wire-format prefix in front of an Avro body."""
    return _FRAME.pack(_MAGIC, schema_id) + body


def framed_schema_id(value: bytes | None) -> int:
    """Return the schema id that a value names.

    Raises:
        Undecodable: the value is absent, too short, or does not begin with the magic byte.
    """
    if value is None:
        raise Undecodable("the value is empty")
    if len(value) < _FRAME.size:
        raise Undecodable(f"the value has {len(value)} bytes, fewer than the wire format's prefix")
    magic, schema_id = _FRAME.unpack_from(value)
    if magic != _MAGIC:
        raise Undecodable(f"the first byte is {magic}, not the wire format's 0")
    return int(schema_id)


def _without_logical_types(schema: Any) -> Any:
    """Drop logical types: inside goalpost times are integers, and decimals are cheaper done here (schemas.decimals)."""
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    return schema


def parse(text: SchemaText) -> Schema:
    """Parse an Avro schema for use inside goalpost (times as epoch milliseconds, decimals as bytes).

    Raises:
        Undecodable: the text is no Avro schema.
    """
    try:
        return fastavro.parse_schema(_without_logical_types(json.loads(text)))
    except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as exc:
        raise Undecodable(f"its schema cannot be parsed: {type(exc).__name__}") from exc


class Codec(Generic[T]):
    """Turns one dataclass into the wire format and back.

    ``schema_id`` is the registry's id of our own schema; ``foreign_schema`` returns the text of any other id and
    raises :class:`UnknownSchemaId`, or its caller's own error when the registry cannot be asked.
    """

    def __init__(
        self,
        record_type: type[T],
        text: SchemaText,
        *,
        schema_id: int,
        foreign_schema: Callable[[int], SchemaText],
        to_record: Callable[[dict[str, Any]], T] | None = None,
        to_fields: Callable[[T], dict[str, Any]] | None = None,
    ) -> None:
        self.schema_id = schema_id
        self._schema = parse(text)
        self._scales = tuple(scales_of(json.loads(text)).items())
        self._foreign_schema = foreign_schema
        self._foreign: dict[int, Schema] = {}
        self._prefix = _FRAME.pack(_MAGIC, schema_id)
        names = [part.name for part in fields(record_type)]  # type: ignore[arg-type]  # T is always a dataclass
        values_of = attrgetter(*names)
        self._to_record = to_record or (lambda values: record_type(**values))
        self._to_fields = to_fields or (lambda record: dict(zip(names, values_of(record), strict=True)))

    def encode(self, record: T) -> bytes:
        """Encode ``record``. A value that does not fit the schema is a programming error: fastavro raises."""
        out = io.BytesIO()
        out.write(self._prefix)
        values = self._to_fields(record)
        for name, scale in self._scales:
            if values[name] is not None:
                values[name] = scale.packed(values[name])
        fastavro.schemaless_writer(out, self._schema, values)
        return out.getvalue()

    def decode(self, value: bytes | None) -> T:
        """Decode a value written with our schema or with any compatible one that the registry knows.

        Raises:
            Undecodable: the bytes are no such record; never because a dependency is down.
        """
        schema_id = framed_schema_id(value)
        assert value is not None  # noqa: S101 - framed_schema_id refuses None; this tells the type checker
        writer = self._schema if schema_id == self.schema_id else self._writer_schema(schema_id)
        reader = None if writer is self._schema else self._schema
        body = io.BytesIO(value)
        body.seek(_FRAME.size)
        try:
            values: dict[str, Any] = fastavro.schemaless_reader(body, writer, reader)  # type: ignore[assignment]  # our schemas are records
            for name, scale in self._scales:
                if values[name] is not None:
                    values[name] = scale.unpacked(values[name])
            record = self._to_record(values)
        except Exception as exc:  # fastavro raises a dozen types on foreign bytes; each means the same
            raise Undecodable(f"the value does not decode with schema {schema_id} ({type(exc).__name__})") from exc
        if body.tell() != len(value):
            raise Undecodable(f"{len(value) - body.tell()} bytes are left over after decoding with schema {schema_id}")
        return record

    def _writer_schema(self, schema_id: int) -> Schema:
        if schema_id not in self._foreign:
            self._foreign[schema_id] = parse(self._foreign_schema(schema_id))
        return self._foreign[schema_id]
