"""What is submitted is written in order, together, and done only when all of it is acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from schemas.records import Outgoing
from schemas.topics import CONVERSIONS
from streams.waiting import first_ticket, release_marker, ticket_of, waiting_record
from streams.writer import Writer
from tests.unit.streams.builders import as_read, event, raw_record


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


def test_the_end_of_a_wait_is_written_only_when_what_follows_from_it_is_acknowledged() -> None:
    """Partitions acknowledge one by one: a marker that stood alone after a crash would be a lost conversion."""
    broker = Broker()
    raw = raw_record(event(ym_uid="1"))
    waiting = as_read(waiting_record(raw, first_ticket(raw, now=1, due=2)), offset=0)
    ticket = ticket_of(waiting.headers)
    records = [
        release_marker(waiting),
        waiting_record(raw, ticket.again(3), replaces=waiting),
        waiting_record(raw, first_ticket(raw, now=1, due=2, ahead=True)),
        waiting_record(raw, first_ticket(raw, now=1, due=2)),
        Outgoing(topic=CONVERSIONS.name, key=None, value=b"conversion"),
    ]
    with at_work(broker) as writer:
        broker.open.set()
        writer.submit(lambda: records).result(10)
    assert broker.batches == [[raw.value, b"conversion"], [None, raw.value, raw.value]]
