"""Headers whose names are no UTF-8: Kafka takes them, and aiokafka stops at the first for good.

Its compiled reader raises for the record, and again each time, so that the partition would stand still until retention
deletes the record. Where that happens, the rest of what was fetched is read by aiokafka's reader in Python, made to
replace what is no text.

What is used of aiokafka is not its public interface: ``streams.runs.check_faust`` compares it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import dropwhile
from typing import Any, Final

from aiokafka.consumer import fetcher  # type: ignore[import-untyped]  # it ships no types
from aiokafka.consumer.fetcher import PartitionRecords  # type: ignore[import-untyped]  # as above
from aiokafka.record.default_records import _DefaultRecordBatchPy  # type: ignore[import-untyped]  # as above
from aiokafka.record.memory_records import MemoryRecords  # type: ignore[import-untyped]  # as above

# Of a batch (Kafka protocol documentation, "Record Batch"): its first offset, and the bytes that follow.
_BATCH: Final = struct.Struct(">qi")

OVERRIDDEN: Final[tuple[tuple[type, str, tuple[str, ...]], ...]] = (
    (PartitionRecords, "_unpack_records", ("self",)),
    (_DefaultRecordBatchPy, "_maybe_uncompress", ("self",)),
    (_DefaultRecordBatchPy, "__init__", ("self", "buffer")),
)


class _Replacing(bytearray):
    """Bytes of which each part is a text, with marks in place of what is none."""

    def __getitem__(self, where: Any) -> Any:
        found = super().__getitem__(where)
        return _Replacing(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        del errors  # the reader asks for none
        return super().decode(encoding, "replace")


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]  # untyped, as above
    """A batch that is read whatever its headers are called."""

    _buffer: Any

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        if not isinstance(self._buffer, _Replacing):
            self._buffer = _Replacing(self._buffer)


class _Fetched(MemoryRecords):  # type: ignore[misc]  # untyped, as above
    """What was fetched, with its bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.content = content


class _Slowly:
    """The batches in ``content`` from the one on that holds ``offset``."""

    def __init__(self, content: bytes, offset: int) -> None:
        self._batches = dropwhile(lambda batch: batch.next_offset <= offset, _batches(content))
        self._ahead = next(self._batches, None)

    def has_next(self) -> bool:  # aiokafka asks
        """Whether there is one more."""
        return self._ahead is not None

    def next_batch(self) -> _Batch | None:
        """Return it."""
        batch, self._ahead = self._ahead, next(self._batches, None)
        return batch


def _batches(content: bytes) -> Iterator[_Batch]:
    at = 0
    while at + _BATCH.size <= len(content):
        end = at + _BATCH.size + _BATCH.unpack_from(content, at)[1]
        if end > len(content):
            return  # the broker cuts what it sends at a size
        yield _Batch(memoryview(content)[at:end])
        at = end


class _Records(PartitionRecords):  # type: ignore[misc]  # untyped, as above
    """The records of one fetch."""

    _records: Any
    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:
            # Up to here all are handed out; of the batch that begins before, aiokafka leaves out what is.
            self._records = _Slowly(self._records.content, self.next_fetch_offset)
            yield from super()._unpack_records()


def read_any_header_name() -> None:
    """Have aiokafka read, in this process, records whose header names are no UTF-8."""
    fetcher.MemoryRecords = _Fetched
    fetcher.PartitionRecords = _Records
