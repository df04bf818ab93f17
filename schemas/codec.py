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

from schemas.compiled import reader_for, writer_for
from schemas.decimals import scales_of
from schemas.foreign import Inadmissible, admitted

_MAGIC: Final = 0
_FRAME: Final = struct.Struct(">bI")
WIRE_PREFIX_BYTES: Final = _FRAME.size
# What a codec remembers of foreign schemas; a topic has a handful.
_REMEMBERED: Final = 256

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
    """Parse an Avro schema of ours for use inside goalpost (times as epoch milliseconds, decimals as bytes).

    Raises:
        Undecodable: the text is no Avro schema.
    """
    try:
        return fastavro.parse_schema(_without_logical_types(json.loads(text)))
    except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as exc:
        raise Undecodable(f"its schema cannot be parsed: {type(exc).__name__}") from exc


def parse_foreign(text: SchemaText) -> Schema | Undecodable:
    """Parse the schema that another program wrote a record with; where it may not be read by, return why."""
    try:
        return fastavro.parse_schema(admitted(text))
    except Inadmissible as exc:
        return Undecodable(f"its schema cannot be used: {exc}")
    except Exception as exc:  # noqa: BLE001 - fastavro raises a dozen types; each means that it is no schema
        return Undecodable(f"its schema cannot be parsed: {type(exc).__name__}")


class Codec(Generic[T]):
    """Turns one dataclass into the wire format and back.

    ``schema_id`` is the registry's id of our own schema; ``foreign_schema`` returns the text of any other id and
    raises :class:`UnknownSchemaId`, or its caller's own error when the registry cannot be asked. A value of more than
    ``largest_bytes`` is not looked into where that takes memory of many times its size.
    """

    def __init__(
        self,
        record_type: type[T],
        text: SchemaText,
        *,
        schema_id: int,
        foreign_schema: Callable[[int], SchemaText],
        largest_bytes: int | None = None,
        to_record: Callable[[dict[str, Any]], T] | None = None,
        to_fields: Callable[[T], dict[str, Any]] | None = None,
    ) -> None:
        self.schema_id = schema_id
        self._schema = parse(text)
        declared = json.loads(text)
        self._scales = tuple(scales_of(declared).items())
        self._foreign_schema = foreign_schema
        self._foreign: dict[int, Schema | Undecodable] = {}
        self._largest_bytes = largest_bytes
        self._prefix = _FRAME.pack(_MAGIC, schema_id)
        names = [part.name for part in fields(record_type)]  # type: ignore[arg-type]  # T is always a dataclass
        values_of = attrgetter(*names)
        self._to_record = to_record or (lambda values: record_type(**values))
        self._to_fields = to_fields or (lambda record: dict(zip(names, values_of(record), strict=True)))
        self._read = reader_for(record_type, declared) if to_record is None else None
        self._write = writer_for(declared, self._prefix) if to_fields is None else None

    def encode(self, record: T) -> bytes:
        """Encode ``record``. A value that does not fit the schema is a programming error: any exception may come."""
        if self._write is not None:
            return self._write(record)
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
        schema_id = self.schema_id if value and value.startswith(self._prefix) else framed_schema_id(value)
        assert value is not None  # noqa: S101 - framed_schema_id refuses None; this tells the type checker
        if self._largest_bytes is not None and len(value) > self._largest_bytes:
            raise Undecodable(f"the value has {len(value)} bytes; that is more than any record of its topic needs")
        writer = self._schema if schema_id == self.schema_id else self._writer_schema(schema_id)
        try:
            if self._read is not None and writer is self._schema:
                record, end = self._read(value, _FRAME.size)
            else:
                record, end = self._interpreted(value, writer)
        except Exception as exc:  # fastavro raises a dozen types on foreign bytes; each means the same
            raise Undecodable(f"the value does not decode with schema {schema_id} ({type(exc).__name__})") from exc
        if end > len(value):
            raise Undecodable(f"the value is cut: schema {schema_id} asks for {end - len(value)} bytes more")
        if end < len(value):
            raise Undecodable(f"{len(value) - end} bytes are left over after decoding with schema {schema_id}")
        return record

    def _interpreted(self, value: bytes, writer: Schema) -> tuple[T, int]:
        """Read a record of another schema, or of one that is too rich to have a function made for it."""
        body = io.BytesIO(value)
        body.seek(_FRAME.size)
        reader = None if writer is self._schema else self._schema
        values: dict[str, Any] = fastavro.schemaless_reader(body, writer, reader)  # type: ignore[assignment]  # our schemas are records
        for name, scale in self._scales:
            if values[name] is not None:
                values[name] = scale.unpacked(values[name])
        return self._to_record(values), body.tell()

    def _writer_schema(self, schema_id: int) -> Schema:
        found = self._foreign.get(schema_id)
        if found is None:
            found = parse_foreign(self._foreign_schema(schema_id))
            if len(self._foreign) >= _REMEMBERED:
                self._foreign.pop(next(iter(self._foreign)), None)
            self._foreign[schema_id] = found
        if isinstance(found, Undecodable):
            raise Undecodable(found.reason)
        return found
