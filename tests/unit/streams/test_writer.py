"""What is submitted is written in order, together, and done only when all of it is acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from schemas.records import Outgoing
from streams.writer import Writer


class Broker:
    """Takes records; fails or waits if told."""

    def __init__(self) -> None:
        self.batches: list[list[bytes | None]] = []
        self.open = threading.Event()
        self.error: Exception | None = None

    def send(self, records: Sequence[Outgoing]) -> None:
        assert self.open.wait(10)
        if self.error is not None:
            raise self.error
        self.batches.append([record.value for record in records])


def deciding(*values: bytes) -> Callable[[], list[Outgoing]]:
    return lambda: [Outgoing(topic="t", key=None, value=value) for value in values]


@contextmanager
def at_work(broker: Broker) -> Iterator[Writer]:
    writer = Writer(broker)
    thread = threading.Thread(target=writer.work)
    thread.start()
    try:
        yield writer
    finally:
        broker.open.set()
        writer.close()
        thread.join(10)
        assert not thread.is_alive()


def test_what_piled_up_is_written_in_order_and_nothing_is_done_before_it_is_acknowledged() -> None:
    broker = Broker()
    writer = Writer(broker)
    first, second = writer.submit(deciding(b"1", b"2")), writer.submit(deciding(b"3"))
    writer.close()
    thread = threading.Thread(target=writer.work)
    thread.start()
    assert not first.done()
    assert not second.done()
    broker.open.set()
    first.result(10)
    second.result(10)
    thread.join(10)
    assert broker.batches == [[b"1", b"2", b"3"]]


def test_a_failed_delivery_leaves_everything_that_was_written_with_it_undone() -> None:
    broker = Broker()
    broker.error = OSError("no broker")
    with at_work(broker) as writer:
        done = [writer.submit(deciding(b"1")), writer.submit(deciding(b"2"))]
        broker.open.set()
        for each in done:
            with pytest.raises(OSError, match="no broker"):
                each.result(10)


def test_a_decision_that_raises_writes_nothing() -> None:
    def broken() -> list[Outgoing]:
        raise ZeroDivisionError

    broker = Broker()
    broker.open.set()
    with at_work(broker) as writer, pytest.raises(ZeroDivisionError):
        writer.submit(broken).result(10)
    assert broker.batches == []
