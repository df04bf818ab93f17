"""Header names that are no UTF-8, in batches as Kafka hands them out."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.record.default_records import (  # type: ignore[import-untyped]  # it ships no types
    _DefaultRecordBatchBuilderPy,
)
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]  # as above

from streams.header_names import _Fetched, _Records
from streams.runs import check_faust

PLAIN, GZIP, LZ4 = 0, 1, 3


class _Odd(str):
    """A name that is written as bytes which are no text."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return them."""
        del encoding, errors
        return b"\xff\xfe"


def _batch(first: int, *odd: int, compression: int = PLAIN) -> bytes:
    """Five records; those at ``odd`` offsets have such a header."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for number in range(5):
        headers: list[tuple[str, bytes | None]] = [("event_id", b"e")]
        if first + number in odd:
            headers.append((_Odd("x"), b"1"))
        builder.append(number, timestamp=1000, key=b"k", value=b"v%d" % (first + number), headers=headers)
    return first.to_bytes(8, "big") + bytes(builder.build())[8:]


def _read(content: bytes, start: int) -> list[Any]:
    return list(_Records(TopicPartition("t", 0), _Fetched(content), [], start, None, None, True, 1))


@pytest.mark.parametrize("compression", [PLAIN, GZIP, LZ4])
@pytest.mark.parametrize("start", [10, 12, 13, 14, 15, 17, 18, 23, 24])
def test_each_record_is_handed_out_once_and_in_order(start: int, compression: int) -> None:
    content = _batch(10, 13) + _batch(15, 15, 17, 18, compression=compression) + _batch(20) + _batch(25, 29)[:-3]

    found = _read(content, start)

    assert [record.offset for record in found] == list(range(start, 25))
    assert [record.value for record in found] == [b"v%d" % offset for offset in range(start, 25)]
    assert all(record.headers[0] == ("event_id", b"e") for record in found)
    assert {len(record.headers) for record in found if record.offset in (13, 15, 17, 18)} <= {2}


def test_records_that_are_as_usual_are_read_as_usual() -> None:
    assert [record.offset for record in _read(_batch(10) + _batch(15), 11)] == list(range(11, 20))


def test_what_this_relies_on_is_compared_at_the_start() -> None:
    check_faust()
