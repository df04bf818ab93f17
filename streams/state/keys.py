"""Keys of a partition's store, and the numbers in them."""

from __future__ import annotations

import struct
from typing import Final

from schemas.events import EpochMillis

DUE: Final = b"d"
SINCE: Final = b"a"
OVERTAKEN: Final = b"o:"
_ENTRY: Final = b"w"
_AWAITED: Final = b"q"

_NUMBER: Final = struct.Struct(">q")
_TWO: Final = struct.Struct(">qq")
_LENGTH: Final = struct.Struct(">I")


def entry_key(offset: int) -> bytes:
    """Key of a waiting record."""
    return _ENTRY + _NUMBER.pack(offset)


def due_key(due: EpochMillis, offset: int) -> bytes:
    """Key by which waiting records are found in the order in which they are due."""
    return DUE + _TWO.pack(due, offset)


def since_value(since: EpochMillis) -> bytes:
    """Value under :func:`due_key`: since when the event waits."""
    return _NUMBER.pack(since)


def since_key(since: bytes, due: bytes) -> bytes:
    """Key by which waiting records are found in the order of their age, from the value and the key of ``due``."""
    return SINCE + since + due[-_NUMBER.size :]


def awaited_by(key: bytes | None) -> bytes:
    """Prefix of what waits for the session under ``key``, and of nothing else: no key is a part of another one."""
    session = key or b""
    return _AWAITED + _LENGTH.pack(len(session)) + session


def awaited_key(key: bytes | None, offset: int) -> bytes:
    """Key by which a waiting record is found when the session under ``key`` comes; its value is the due key."""
    return awaited_by(key) + _NUMBER.pack(offset)


def overtaken_key(visitor: bytes) -> bytes:
    """Marks a visitor whose last record in the topic is not its latest session."""
    return OVERTAKEN + visitor


def moment_in(due: bytes) -> EpochMillis:
    """The time in a due key, or in a key by age."""
    return int(_TWO.unpack(due[1:])[0])


def offset_in(due: bytes) -> int:
    """The waiting record's offset in a due key."""
    return int(_TWO.unpack(due[1:])[1])


def number_value(number: int) -> bytes:
    """A number as a value."""
    return _NUMBER.pack(number)


def number_in(value: bytes) -> int:
    """The number that is a value."""
    return int(_NUMBER.unpack(value)[0])


def behind(prefix: bytes) -> bytes:
    """The first key behind all that begin with ``prefix``, which begins with a letter."""
    shortened = prefix.rstrip(b"\xff")
    return shortened[:-1] + bytes([shortened[-1] + 1])
