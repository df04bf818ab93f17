"""Avro readers and writers made for one flat schema, as dataclasses makes ``__init__`` for one class.

fastavro interprets the schema for each record and hands over a dictionary: 22 microseconds to read an event into its
dataclass, 17 to write a conversion. A function made of a line or two for each field needs a third of that.

Only what goalpost's records consist of is known here: strings, bytes, whole numbers, booleans, decimals, and each of
them or null. For everything else there is fastavro, which also reads what was written with another schema, and with
which the tests compare this byte by byte.

Source of the encodings: Avro specification, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from schemas.construct import constructor
from schemas.decimals import scales_of

T = TypeVar("T")

# Reads a body from a position on; returns the record and the position behind it.
Reader = Callable[[bytes, int], tuple[T, int]]
Writer = Callable[[T], bytes]

_KINDS: Final = frozenset({"string", "bytes", "int", "long", "boolean", "decimal", "time"})
_LOGICAL: Final = {"decimal": "decimal", "timestamp-millis": "time"}
_INT_LIMIT: Final = 1 << 31
_LONG_LIMIT: Final = 1 << 63
# Varints are written 14 bits at a time: two bytes that are followed by more, and the one or two that are the last.
_MORE: Final = tuple(bytes((low & 127 | 128, low >> 7 | 128)) for low in range(1 << 14))
_LAST: Final = tuple(bytes((low,) if low < 128 else (low & 127 | 128, low >> 7)) for low in range(1 << 14))


def reader_for(record_type: type[T], schema: dict[str, Any]) -> Reader[T] | None:
    """Return a function that reads records of ``schema``; ``None`` if the schema is beyond this module.

    It raises ``ValueError`` or ``IndexError`` for bytes that are no such record, and may return a position behind the
    end for bytes that are cut.
    """
    kinds = _kinds_of(schema)
    if kinds is None:
        return None
    lines = [line for name, kind in kinds.items() for line in _reading(name, kind)]
    given = ", ".join(f"{name}=v_{name}" for name in kinds)
    body = "\n    ".join([*lines, f"return make({given}), at"])
    scope = {**_scope(schema), "make": constructor(record_type)}
    exec(f"def read(data, at):\n    {body}\n", scope)  # noqa: S102 - made of our own schema's field names
    read: Reader[T] = scope["read"]
    return read


def writer_for(schema: dict[str, Any], prefix: bytes) -> Writer[Any] | None:
    """Return a function that writes records of ``schema`` behind ``prefix``; ``None`` if it is beyond this module.

    It raises for values that do not fit the schema.
    """
    kinds = _kinds_of(schema)
    if kinds is None:
        return None
    parts = ",\n        ".join(["prefix", *(_writing(name, kind) for name, kind in kinds.items())])
    scope = {**_scope(schema), "prefix": prefix}
    exec(f"def write(record):\n    return b''.join((\n        {parts},\n    ))\n", scope)  # noqa: S102 - as above
    write: Writer[Any] = scope["write"]
    return write


def _kinds_of(schema: dict[str, Any]) -> dict[str, str] | None:
    """The kind of each field, ``optional `` in front where it may be null; ``None`` if one is of another kind."""
    kinds: dict[str, str] = {}
    for field in schema["fields"]:
        match field["type"]:
            case ["null", declared]:
                optional = "optional "
            case declared:
                optional = ""
        if isinstance(declared, dict):
            declared = _LOGICAL.get(declared.get("logicalType", ""), declared["type"])
        if declared not in _KINDS:
            return None
        kinds[str(field["name"])] = optional + declared
    return kinds


def _reading(name: str, kind: str) -> list[str]:
    """The lines that read field ``name`` into ``v_<name>`` and move ``at`` behind it."""
    if not kind.startswith("optional "):
        return _reading_value(name, kind)
    return [
        "branch = data[at]; at += 1",
        f"if branch == 0: v_{name} = None",
        "elif branch != 2: raise ValueError('a value of no known type')",
        "else:",
        *(f"    {line}" for line in _reading_value(name, kind.removeprefix("optional "))),
    ]


def _reading_value(name: str, kind: str) -> list[str]:
    if kind == "boolean":
        return [f"v_{name} = data[at] != 0; at += 1"]
    if kind in ("int", "long", "time"):
        return [f"v_{name}, at = number(data, at)"]
    value = {
        "string": "data[at:end].decode()",
        "bytes": "data[at:end]",
        "decimal": f"scale_{name}.unpacked(data[at:end])",
    }
    return [
        "size = data[at]; at += 1",
        "if size & 129: size, at = length(data, at - 1)",  # of more than one byte, or negative
        "else: size >>= 1",
        f"end = at + size; v_{name} = {value[kind]}; at = end",
    ]


def _writing(name: str, kind: str) -> str:
    """The expressions for the bytes of field ``name``."""
    value = f"record.{name}"
    if not kind.startswith("optional "):
        return ", ".join(_writing_value(name, kind, value))
    written = " + ".join(_writing_value(name, kind.removeprefix("optional "), "value"))
    return rf"b'\0' if (value := {value}) is None else b'\2' + {written}"


def _writing_value(name: str, kind: str, value: str) -> tuple[str, ...]:
    if kind == "boolean":
        return (rf"(b'\1' if {value} else b'\0')",)
    if kind in ("int", "long"):
        return (f"{kind}s[{value}]",)
    if kind == "time":  # six bytes from 1970-01-02 until 2039, which are worth writing out
        six = "more[(time := time << 1) & 16383] + more[time >> 14 & 16383] + last[time >> 28]"
        return (f"({six} if 0 < (time := {value}) >> 27 < 16384 else longs[time])",)
    encoded = {"string": f"{value}.encode()", "bytes": value, "decimal": f"scale_{name}.packed({value})"}
    return f"longs[len(sized := {encoded[kind]})]", "sized"


def _scope(schema: dict[str, Any]) -> dict[str, Any]:
    scales = {f"scale_{name}": scale for name, scale in scales_of(schema).items()}
    return {**scales, "number": number, "length": length, "ints": _INTS, "longs": _LONGS, "more": _MORE, "last": _LAST}


def number(data: bytes, at: int) -> tuple[int, int]:
    """Read a whole number (a zigzag varint); returns it and the position behind it."""
    found = data[at]
    if found > 127:
        found &= 127
        shift = 7
        at += 1
        while (byte := data[at]) > 127:
            # Looked at byte by byte, not at the end: a number that goes on for megabytes would cost the square of that.
            if shift == 63:  # of the tenth byte, the last that 64 bits can need
                raise ValueError("a number of more than 64 bits")
            found |= (byte & 127) << shift
            shift += 7
            at += 1
        found |= byte << shift
        if found >> 64:
            raise ValueError("a number of more than 64 bits")
    return (found >> 1) ^ -(found & 1), at + 1


def length(data: bytes, at: int) -> tuple[int, int]:
    """Read the length of a string or of bytes."""
    found, at = number(data, at)
    if found < 0:
        raise ValueError("a negative length")
    return found, at


class Numbers(dict[int, bytes]):
    """Whole numbers as they are written: the small ones, which most are, at hand; the others on demand."""

    def __init__(self, limit: int) -> None:
        """Numbers from ``-limit`` up to, but not including, ``limit``."""
        super().__init__((low >> 1, _LAST[low]) for low in range(0, 1 << 14, 2))
        self._limit = limit

    def __missing__(self, value: int) -> bytes:
        if not -self._limit <= value < self._limit:
            raise OverflowError(f"a number outside of {-self._limit} to {self._limit - 1}")
        left = (value << 1) ^ (value >> 63)
        written = b""
        while left >> 14:
            written += _MORE[left & 16383]
            left >>= 14
        return written + _LAST[left]


_INTS: Final = Numbers(_INT_LIMIT)
_LONGS: Final = Numbers(_LONG_LIMIT)
